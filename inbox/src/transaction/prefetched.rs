//! Transactions that were begun with the commit before them, on its connection.
//!
//! The request that commits a transaction begins the next one as well, and that is kept for a moment
//! if a delivery waits for one or is likely to come. It spares a worker the round trips for `BEGIN` and
//! for the look that the pool takes at a connection that comes back.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use sqlx::{Postgres, Transaction};
use tokio::{runtime::Handle, task::JoinHandle, time::sleep};

use super::arrival_rate::ArrivalRate;

/// Longest time between the beginning of a transaction and its first statement: a handler's `now()`
/// tells the beginning.
const FRESH: Duration = Duration::from_millis(10);

/// One transaction in so many is not kept: its connection goes through the pool, whose hooks and
/// limits of age must see it now and then. A prime, so that of connections that take turns none is
/// spared for ever.
const THROUGH_THE_POOL: u32 = 101;

/// Transactions in which nothing has been done yet.
#[derive(Debug, Default)]
pub(crate) struct PrefetchedTransactions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Deliveries that wait for a worker.
    waiting: usize,
    /// How often a transaction is asked for.
    arrival_rate: ArrivalRate,
    /// By the time since when they may be open; the oldest is the first.
    transactions: Vec<(Instant, Transaction<'static, Postgres>)>,
    /// Transactions that could have been kept.
    offered: u32,
    /// Lets go of those that get too old, while there are any.
    expiry: Option<JoinHandle<()>>,
    /// Where connections go back to their pool.
    runtime: Option<Handle>,
}

impl State {
    /// How many transactions are likely to be used while they are fresh.
    fn wanted(&self, now: Instant) -> usize {
        let expected = self.arrival_rate.expected(FRESH / 2, now);
        self.waiting.saturating_add(expected)
    }

    /// Whether to keep another one.
    fn keeps(&mut self, now: Instant) -> bool {
        if self.transactions.len() >= self.wanted(now) {
            return false;
        }
        self.offered = (self.offered + 1) % THROUGH_THE_POOL;
        self.offered > 0
    }

    /// Lets go of those that nobody may use any more; returns how long the oldest one may stay.
    fn retire(&mut self, now: Instant) -> Option<Duration> {
        let age = |began: Instant| now.saturating_duration_since(began);
        let old = |(began, _): &(Instant, _)| age(*began) >= FRESH;
        let count = self.transactions.partition_point(old);
        self.let_go(count);
        let (oldest, _) = self.transactions.first()?;
        Some(FRESH.saturating_sub(age(*oldest)))
    }

    /// Lets go of the oldest ones.
    fn let_go(&mut self, count: usize) {
        for (_, transaction) in self.transactions.drain(..count) {
            end(transaction);
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Outside of a runtime a connection cannot go back to its pool.
        let _entered = self.runtime.as_ref().map(Handle::enter);
        self.transactions.clear();
    }
}

impl PrefetchedTransactions {
    /// Takes note of how many deliveries wait for a worker; lets go of what neither they need nor
    /// the `starting` ones, nor those that are likely to come.
    pub(crate) fn set_waiting(&self, count: usize, starting: usize) {
        let mut state = self.lock();
        state.waiting = count;
        let wanted = state.wanted(Instant::now()).saturating_add(starting);
        let spare = state.transactions.len().saturating_sub(wanted);
        state.let_go(spare);
    }

    /// Whether to keep a transaction: another is likely to be used while it is fresh.
    pub(super) fn keeps_another(&self) -> bool {
        self.lock().keeps(Instant::now())
    }

    /// Keeps a transaction that was begun no earlier than `began`, while it is fresh.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub(super) fn put(
        self: &Arc<Self>,
        transaction: Transaction<'static, Postgres>,
        began: Instant,
    ) {
        let mut state = self.lock();
        let place = state
            .transactions
            .partition_point(|(other, _)| *other <= began);
        state.transactions.insert(place, (began, transaction));
        // One that has finished was ended with its runtime.
        if state.expiry.as_ref().is_none_or(JoinHandle::is_finished) {
            state.expiry = Some(tokio::spawn(expire_old(Arc::downgrade(self))));
            state.runtime = Some(Handle::current());
        }
    }

    /// Takes the transaction that began last.
    pub(super) fn take(&self) -> Option<Transaction<'static, Postgres>> {
        let (mut state, now) = (self.lock(), Instant::now());
        state.arrival_rate.asked(now);
        state.retire(now);
        Some(state.transactions.pop()?.1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a transaction in which nothing was done, so that its connection goes back to the pool.
/// Committed, as dropping it would count as a rollback in the server's statistics.
///
/// # Panics
/// Panics outside a tokio runtime.
pub(super) fn end(transaction: Transaction<'static, Postgres>) {
    // If it fails, the connection is gone, and the transaction with it.
    drop(tokio::spawn(transaction.commit()));
}

/// Lets go of what gets too old, until nothing is left: an open transaction keeps a connection.
async fn expire_old(begun: Weak<PrefetchedTransactions>) {
    while let Some(begun) = begun.upgrade() {
        let oldest = {
            let mut state = begun.lock();
            let oldest = state.retire(Instant::now());
            if oldest.is_none() {
                state.expiry = None;
            }
            oldest
        };
        drop(begun);
        match oldest {
            Some(left) => sleep(left).await,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{State, THROUGH_THE_POOL};

    #[test]
    fn every_connection_goes_through_the_pool_now_and_then() {
        let now = Instant::now();
        let mut state = State::default();
        state.waiting = 1_000;
        for connections in 1..=16 {
            let mut seen = vec![false; connections];
            for turn in 0..connections * THROUGH_THE_POOL as usize {
                seen[turn % connections] |= !state.keeps(now);
            }
            assert!(seen.into_iter().all(|seen| seen), "{connections} in turns");
        }
    }

    #[test]
    fn nothing_is_kept_where_nobody_is_expected() {
        assert!(!State::default().keeps(Instant::now()));
    }
}
