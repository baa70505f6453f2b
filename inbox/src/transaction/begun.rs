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
use tokio::time::sleep;

use super::pace::Pace;

/// Longest time between the beginning of a transaction and its first statement: a handler's `now()`
/// tells the beginning.
const FRESH: Duration = Duration::from_millis(10);

/// One transaction in so many is not kept: its connection goes through the pool, whose hooks and
/// limits of age must see it now and then. A prime, so that of connections that take turns none is
/// spared for ever.
const THROUGH_THE_POOL: u32 = 101;

/// Transactions in which nothing has been done yet.
#[derive(Debug, Default)]
pub(crate) struct Begun(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Deliveries that wait for a worker.
    waiting: usize,
    /// How often a transaction is asked for.
    pace: Pace,
    /// The latest one is the last.
    transactions: Vec<(Transaction<'static, Postgres>, Instant)>,
    /// Whether a task lets go of those that get too old.
    minded: bool,
    /// Transactions that could have been kept.
    offered: u32,
}

impl State {
    /// How many transactions are likely to be used while they are fresh.
    fn wanted(&self, now: Instant) -> usize {
        self.waiting + self.pace.expected(FRESH / 2, now)
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
        self.transactions.retain(|(_, began)| age(*began) < FRESH);
        let (_, oldest) = self.transactions.first()?;
        Some(FRESH.saturating_sub(age(*oldest)))
    }
}

impl Begun {
    /// Takes note of how many deliveries wait for a worker; lets go of what neither they need nor
    /// the `starting` ones, nor those that are likely to come.
    pub(crate) fn set_waiting(&self, count: usize, starting: usize) {
        let mut state = self.lock();
        state.waiting = count;
        let wanted = state.wanted(Instant::now()) + starting;
        let spare = state.transactions.len().saturating_sub(wanted);
        state.transactions.drain(..spare);
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
        state.transactions.push((transaction, began));
        if !state.minded {
            state.minded = true;
            tokio::spawn(mind(Arc::downgrade(self)));
        }
    }

    pub(super) fn take(&self) -> Option<Transaction<'static, Postgres>> {
        let (mut state, now) = (self.lock(), Instant::now());
        state.pace.asked(now);
        state.retire(now);
        Some(state.transactions.pop()?.0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of what gets too old, until nothing is left: an open transaction keeps a connection.
async fn mind(begun: Weak<Begun>) {
    while let Some(begun) = begun.upgrade() {
        let oldest = {
            let mut state = begun.lock();
            let oldest = state.retire(Instant::now());
            state.minded = oldest.is_some();
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
        let mut state = State {
            waiting: 1_000,
            ..State::default()
        };
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
