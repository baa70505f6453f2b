//! Transactions that were begun with the commit before them, on its connection.
//!
//! While deliveries wait, the request that commits a transaction begins the next one as well. That
//! spares a worker three round trips for each message: for `BEGIN`, for the look at whether the
//! commit would commit, and for the look that the pool takes at a connection that comes back.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Postgres, Transaction};

/// Longest time between the beginning of a transaction and its first statement: a handler's `now()`
/// tells the beginning.
const FRESH: Duration = Duration::from_millis(10);

/// Transactions in which nothing has been done yet.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    /// Deliveries that wait for a worker.
    waiting: AtomicUsize,
    /// The latest one is the last.
    transactions: Mutex<Vec<(Transaction<'static, Postgres>, Instant)>>,
}

impl Begun {
    /// Takes note of how many deliveries wait for a worker; lets go of what neither they need nor
    /// the `starting` ones.
    pub(crate) fn set_waiting(&self, count: usize, starting: usize) {
        self.waiting.store(count, Ordering::Relaxed);
        let mut transactions = self.lock();
        let spare = transactions.len().saturating_sub(count + starting);
        transactions.drain(..spare);
    }

    /// Lets go of those that nobody may use any more.
    pub(crate) fn retire(&self) {
        self.lock().retain(|(_, began)| began.elapsed() < FRESH);
    }

    /// Whether the next commit should begin another transaction.
    pub(super) fn is_wanted(&self) -> bool {
        self.lock().len() < self.waiting.load(Ordering::Relaxed)
    }

    /// Keeps a transaction that was begun no earlier than `began`.
    pub(super) fn put(&self, transaction: Transaction<'static, Postgres>, began: Instant) {
        self.retire();
        self.lock().push((transaction, began));
    }

    pub(super) fn take(&self) -> Option<Transaction<'static, Postgres>> {
        self.retire();
        Some(self.lock().pop()?.0)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Transaction<'static, Postgres>, Instant)>> {
        // Nothing can panic between two changes that belong together.
        self.transactions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
