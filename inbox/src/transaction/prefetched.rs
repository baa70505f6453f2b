//! Prefetched transactions: begun in the request that committed the preceding transaction, on the same
//! connection.
//!
//! A prefetched transaction is kept for up to 10 ms if a delivery waits or is likely to arrive. It spares a
//! worker the round trips for `BEGIN` and for the pool's test of a returned connection.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use sqlx::{Postgres, Transaction};
use tokio::{runtime::Handle, task::JoinHandle, time::sleep};

use super::arrival_rate::ArrivalRate;

/// Longest time between a transaction's `BEGIN` and its first use: a handler's `now()` is the time of
/// `BEGIN`.
const MAX_AGE: Duration = Duration::from_millis(10);

/// One transaction in this many is not kept: its connection is returned to the pool, so that the pool can
/// run its hooks and enforce its limits of age. A prime number, so that connections that are used in
/// rotation are all returned at times.
const RETURN_EVERY: u32 = 101;

/// Open transactions in which nothing has been done yet.
#[derive(Debug, Default)]
pub(crate) struct PrefetchedTransactions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Number of deliveries that wait for a worker.
    waiting: usize,
    /// Rate of requests for a transaction.
    arrival_rate: ArrivalRate,
    /// Transactions with the earliest time of their `BEGIN`, oldest first.
    transactions: Vec<(Instant, Transaction<'static, Postgres>)>,
    /// Number of transactions that could have been kept, modulo [`RETURN_EVERY`].
    offered: u32,
    /// Task that closes transactions above [`MAX_AGE`], while there are any.
    expiry: Option<JoinHandle<()>>,
    /// Runtime in which connections are returned to their pool.
    runtime: Option<Handle>,
}

impl State {
    /// Returns how many transactions are likely to be used before they reach [`MAX_AGE`].
    fn wanted(&self, now: Instant) -> usize {
        let expected = self.arrival_rate.expected(MAX_AGE / 2, now);
        self.waiting.saturating_add(expected)
    }

    /// Returns `true` if another transaction should be kept.
    fn should_keep(&mut self, now: Instant) -> bool {
        if self.transactions.len() >= self.wanted(now) {
            return false;
        }
        self.offered = (self.offered + 1) % RETURN_EVERY;
        self.offered > 0
    }

    /// Closes the transactions that are too old; returns how long the oldest remaining one may be kept,
    /// `None` if none remains.
    fn close_expired(&mut self, now: Instant) -> Option<Duration> {
        let age = |began: Instant| now.saturating_duration_since(began);
        let is_expired = |(began, _): &(Instant, _)| age(*began) >= MAX_AGE;
        let count = self.transactions.partition_point(is_expired);
        self.close_oldest(count);
        let (oldest, _) = self.transactions.first()?;
        Some(MAX_AGE.saturating_sub(age(*oldest)))
    }

    /// Closes the `count` oldest transactions.
    fn close_oldest(&mut self, count: usize) {
        for (_, transaction) in self.transactions.drain(..count) {
            end(transaction);
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // A connection can be returned to its pool only within a runtime.
        let _entered = self.runtime.as_ref().map(Handle::enter);
        self.transactions.clear();
    }
}

impl PrefetchedTransactions {
    /// Updates the number of waiting deliveries, and closes the transactions beyond those that the waiting,
    /// the `starting` and the expected deliveries need.
    pub(crate) fn set_waiting(&self, count: usize, starting: usize) {
        let mut state = self.lock();
        state.waiting = count;
        let wanted = state.wanted(Instant::now()).saturating_add(starting);
        let spare = state.transactions.len().saturating_sub(wanted);
        state.close_oldest(spare);
    }

    /// Returns `true` if another transaction should be kept, since it is likely to be used in time.
    pub(super) fn should_keep(&self) -> bool {
        self.lock().should_keep(Instant::now())
    }

    /// Keeps a transaction that was begun at `began` or later, until it is used or too old.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub(super) fn put(
        self: &Arc<Self>,
        transaction: Transaction<'static, Postgres>,
        began: Instant,
    ) {
        let mut state = self.lock();
        let index = state
            .transactions
            .partition_point(|(other, _)| *other <= began);
        state.transactions.insert(index, (began, transaction));
        // A finished task was ended together with its runtime.
        if state.expiry.as_ref().is_none_or(JoinHandle::is_finished) {
            state.expiry = Some(tokio::spawn(expire_old(Arc::downgrade(self))));
            state.runtime = Some(Handle::current());
        }
    }

    /// Takes the newest transaction, if there is one.
    pub(super) fn take(&self) -> Option<Transaction<'static, Postgres>> {
        let (mut state, now) = (self.lock(), Instant::now());
        state.arrival_rate.record_request(now);
        state.close_expired(now);
        Some(state.transactions.pop()?.1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is safe to use: no panic can separate two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Commits a transaction in which nothing was done, in the background, so that its connection is returned to
/// the pool. A rollback would distort the server's statistics.
///
/// # Panics
/// Panics outside a tokio runtime.
pub(super) fn end(transaction: Transaction<'static, Postgres>) {
    // If the commit fails, the connection is gone, and the transaction with it.
    drop(tokio::spawn(transaction.commit()));
}

/// Closes transactions as they become too old, until none remains: each occupies a connection.
async fn expire_old(prefetched: Weak<PrefetchedTransactions>) {
    while let Some(prefetched) = prefetched.upgrade() {
        let remaining = {
            let mut state = prefetched.lock();
            let remaining = state.close_expired(Instant::now());
            if remaining.is_none() {
                state.expiry = None;
            }
            remaining
        };
        drop(prefetched);
        match remaining {
            Some(remaining) => sleep(remaining).await,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{RETURN_EVERY, State};

    #[test]
    fn every_connection_is_returned_to_the_pool_at_times() {
        let now = Instant::now();
        let mut state = State::default();
        state.waiting = 1_000;
        for connections in 1..=16 {
            let mut returned = vec![false; connections];
            for commit in 0..connections * RETURN_EVERY as usize {
                returned[commit % connections] |= !state.should_keep(now);
            }
            let all = returned.into_iter().all(|returned| returned);
            assert!(all, "{connections} connections in rotation");
        }
    }

    #[test]
    fn no_transaction_is_kept_if_no_delivery_is_expected() {
        assert!(!State::default().should_keep(Instant::now()));
    }
}
