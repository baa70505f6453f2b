//! What happened to an attempt inside the user's layers, whatever they make of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::Fault;

/// Sees an attempt where its transaction is. A layer may hide the error in one of its own, or answer itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    entered: bool,
    fault: Option<Fault>,
}

impl Witness {
    /// Notes that the delivery came to its transaction. A layer may call more than once: the last time counts.
    pub(crate) fn enter(&self) {
        let mut seen = self.lock();
        (seen.entered, seen.fault) = (true, None);
    }

    /// Notes why the transaction did not commit.
    pub(crate) fn fail(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    /// Whether the delivery came to its transaction.
    pub(crate) fn was_entered(&self) -> bool {
        self.lock().entered
    }

    /// The transaction's error, if it failed.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.lock().fault.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
