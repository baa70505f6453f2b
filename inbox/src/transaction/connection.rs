//! A worker's connection: between two deliveries, the transaction that the last commit has begun.

use std::time::{Duration, Instant};

use sqlx::{Postgres, Transaction};
use tokio::runtime::Handle;

use super::Settings;

/// Longest time between a transaction's `BEGIN` and its first use: a handler's `now()` is the time of
/// `BEGIN`.
const MAX_AGE: Duration = Duration::from_millis(10);

/// Number of transactions after which a connection returns to the pool, so that the pool can run its hooks
/// and enforce its limits of age.
const RETURN_AFTER: u32 = 100;

/// The connection of a worker. While deliveries follow one another, the worker keeps the connection, and
/// each transaction is begun by the request that committed the preceding one.
#[derive(Debug, Default)]
pub(crate) struct WorkerConnection {
    /// Transaction in which nothing has been done yet, with the earliest time of its `BEGIN`.
    begun: Option<(Instant, Transaction<'static, Postgres>)>,
    /// Number of transactions since the connection left the pool.
    transactions: u32,
}

impl WorkerConnection {
    /// Returns the transaction that the last commit has begun, or begins one on a connection of the pool.
    ///
    /// The inbox sends every statement within a transaction: behind a pooler, statements outside of one may
    /// each go to another session.
    ///
    /// # Errors
    /// As [`Settings::begin`].
    pub(super) async fn begin(
        &mut self,
        settings: &Settings,
    ) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        if self.time_left().is_none() {
            self.release();
        }
        let Some((_, mut transaction)) = self.begun.take() else {
            self.transactions = 0;
            return settings.begin().await;
        };
        let mut link = settings.link(&mut transaction);
        settings.durability.ensure(&mut link).await?;
        Ok(transaction)
    }

    /// Keeps a transaction that was begun at `began` or later for the next delivery, unless the pool has no
    /// connection to spare.
    pub(super) fn keep(
        &mut self,
        settings: &Settings,
        transaction: Transaction<'static, Postgres>,
        began: Instant,
    ) {
        self.begun = Some((began, transaction));
        self.transactions += 1;
        if self.transactions >= RETURN_AFTER || !settings.has_spare_connection() {
            self.release();
        }
    }

    /// Returns how long the transaction may still wait for a delivery; `None` if there is none to wait with.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let (began, _) = self.begun.as_ref()?;
        let left = MAX_AGE.checked_sub(began.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    /// Ends the transaction in the background, so that its connection returns to the pool. With a commit: a
    /// rollback would distort the server's statistics.
    pub(crate) fn release(&mut self) {
        let Some((_, transaction)) = self.begun.take() else {
            return;
        };
        // If the commit fails, the connection is gone, and the transaction with it.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(transaction.commit()));
        }
    }
}

impl Drop for WorkerConnection {
    fn drop(&mut self) {
        self.release();
    }
}
