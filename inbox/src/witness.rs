//! The observation of an attempt inside the user's layers, independent of the layers' own result.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::Fault;

/// Records whether an attempt reached its transaction, and the transaction's fault. The engine compares the
/// record with the layers' result, since a layer may hide the error behind another one, or answer without
/// calling the inner service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Observed>>);

#[derive(Debug, Default)]
struct Observed {
    entered: bool,
    fault: Option<Fault>,
}

impl Witness {
    /// Records that the delivery reached its transaction. A layer may call the inner service more than once:
    /// the last call counts.
    pub(crate) fn mark_entered(&self) {
        let mut observed = self.lock();
        (observed.entered, observed.fault) = (true, None);
    }

    /// Records why the transaction did not commit.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    /// Returns `true` if the delivery reached its transaction.
    pub(crate) fn was_entered(&self) -> bool {
        self.lock().entered
    }

    /// Returns the transaction's fault; `None` if it committed or was not reached.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.lock().fault.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
