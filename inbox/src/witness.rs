//! What happened to an attempt inside the user's layers, whatever they make of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::Meaning;

/// Sees an attempt where its transaction is. A layer may hide the error in one of its own, or answer itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    entered: bool,
    meaning: Option<Meaning>,
}

impl Witness {
    /// Notes that the delivery came to its transaction. A layer may call more than once: the last time counts.
    pub(crate) fn enter(&self) {
        let mut seen = self.lock();
        (seen.entered, seen.meaning) = (true, None);
    }

    /// Notes why the transaction did not commit.
    pub(crate) fn fail(&self, meaning: Meaning) {
        self.lock().meaning = Some(meaning);
    }

    /// Whether the delivery came to its transaction.
    pub(crate) fn was_entered(&self) -> bool {
        self.lock().entered
    }

    /// What the transaction's error meant, if it failed.
    pub(crate) fn meaning(&self) -> Option<Meaning> {
        self.lock().meaning
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
