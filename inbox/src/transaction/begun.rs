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

/// Longest time between the beginning of a transaction and its first statement: `now()` tells the
/// beginning.
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
    /// Takes note of how many deliveries wait for a worker; lets go of what none of them needs.
    pub(crate) fn set_waiting(&self, count: usize) {
        self.waiting.store(count, Ordering::Relaxed);
        let mut transactions = self.lock();
        let spare = transactions.len().saturating_sub(count);
        transactions.drain(..spare);
    }

    /// Whether the next commit should begin another transaction.
    pub(super) fn is_wanted(&self) -> bool {
        self.lock().len() < self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, transaction: Transaction<'static, Postgres>) {
        let mut transactions = self.lock();
        transactions.retain(|(_, began)| began.elapsed() < FRESH);
        transactions.push((transaction, Instant::now()));
    }

    pub(super) fn take(&self) -> Option<Transaction<'static, Postgres>> {
        let mut transactions = self.lock();
        let (transaction, began) = transactions.pop()?;
        if began.elapsed() < FRESH {
            return Some(transaction);
        }
        // The others are older.
        transactions.clear();
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Transaction<'static, Postgres>, Instant)>> {
        // Nothing can panic between two changes that belong together.
        self.transactions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
