//! Settings and shared state of deliveries' transactions, and time limits of database requests.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use outbox::Outbox;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use statement::{Link, Statements};
use tokio::time::timeout;

use super::durability::Durability;
use crate::{decision::LONGEST, dedup::Window, events, handler::Fates, sql};

/// Longest wait for one answer of the database, apart from a handler's own statements.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time between sending a statement and its start at a busy server.
const SEND_DELAY: Duration = Duration::from_secs(5);

/// Part of a claim's lease beyond the handler's time limit: for the steps before and after the handler,
/// including a rollback after the limit.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// Settings and shared state of deliveries' transactions.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) pool: PgPool,
    pub(crate) consumer: Arc<str>,
    pub(crate) window: Window,
    pub(crate) handler_timeout: Duration,
    pub(crate) outbox: Outbox,
    pub(crate) statements: Statements,
    /// Classifiers of the handlers' errors.
    pub(crate) fates: Fates,
    /// `true` if any event has an idempotency key.
    pub(crate) has_keys: bool,
    /// Shared by all clones of these settings.
    pub(crate) durability: Arc<Durability>,
}

impl Settings {
    pub(crate) const DEFAULT_WINDOW: Duration = Duration::from_hours(30 * 24);
    pub(crate) const DEFAULT_SKEW: Duration = Duration::from_hours(24);
    pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    pub(crate) fn new(pool: PgPool, consumer: &str) -> Self {
        Self {
            pool,
            consumer: consumer.into(),
            window: Window::new(Self::DEFAULT_WINDOW, Self::DEFAULT_SKEW),
            handler_timeout: Self::DEFAULT_TIMEOUT,
            outbox: Outbox::new(),
            statements: Statements::default(),
            fates: Fates::default(),
            has_keys: false,
            durability: Arc::default(),
        }
    }

    /// Sets whether statements are prepared. `false` applies to the handlers' outbox too.
    pub(crate) const fn prepare_statements(&mut self, prepared: bool) {
        self.statements = Statements::prepared(prepared);
        if !prepared {
            self.outbox = self.outbox.without_prepared_statements();
        }
    }

    /// Begins a transaction on a connection of the pool.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        self.durability.ensure(&mut self.link(&mut tx)).await?;
        Ok(tx)
    }

    /// Returns `false` while all connections are in use, since a task may be waiting for one in the pool.
    pub(super) fn has_spare_connection(&self) -> bool {
        let pool = &self.pool;
        let has_spare = pool.num_idle() > 0 || pool.size() < pool.options().get_max_connections();
        has_spare && !pool.is_closed()
    }

    /// Returns the link that sends statements within a transaction begun by [`Settings::begin`].
    pub(crate) fn link<'c>(&self, transaction: &'c mut PgConnection) -> Link<'c> {
        self.statements.within(transaction)
    }

    /// Returns the longest time that a delivery's transaction can take.
    fn longest_transaction(&self) -> Duration {
        self.handler_timeout.saturating_add(ANSWER_TIMEOUT)
    }

    /// Waits for a statement that records ids.
    ///
    /// The statement waits for another process that is handling one of the messages. After the longest time
    /// that a transaction can take, sessions that are idle in a transaction and hold up such statements are
    /// ended: their processes are frozen or disconnected. Otherwise the waiting statement is cancelled,
    /// since it would keep its connection occupied at the server after its client has stopped waiting.
    pub(crate) async fn wait_for_record<T>(
        &self,
        recording: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let mut recording = pin!(recording);
        let longest = self.longest_transaction();
        if let Ok(recorded) = timeout(longest, &mut recording).await {
            return recorded;
        }
        let ending_blockers = async {
            let mut tx = self.begin().await?;
            // A statement starts at the server later than its client starts to wait.
            let age = longest.saturating_sub(SEND_DELAY);
            let ended = sql::session::end_stale_blockers(&mut self.link(&mut tx), age).await?;
            tx.commit().await?;
            Ok(ended)
        };
        // On an error, as when no connection is free, the next attempt tries again.
        if let Ok((sessions @ 1.., _)) = with_answer_timeout(ending_blockers).await {
            let consumer = &self.consumer;
            events::FrozenEnded { consumer, sessions }.emit();
        }
        with_answer_timeout(recording).await
    }

    /// Returns how long a claimed parked row is reserved for its worker. The delivery's transaction also
    /// locks the row; the lease covers the moments before and after the transaction, and ends the claim of
    /// a process that was killed in one of them.
    pub(crate) fn lease(&self) -> Duration {
        let lease = self.handler_timeout.saturating_add(LEASE_MARGIN);
        lease.min(LONGEST)
    }
}

/// Waits for the database's answer for at most 30 seconds. Without the limit, a server that vanished
/// silently would occupy a worker and a key for ever.
///
/// # Errors
/// The database's error, or `sqlx::Error::Io` with `TimedOut`.
pub(crate) async fn with_answer_timeout<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    with_timeout(ANSWER_TIMEOUT, answer).await
}

/// As [`with_answer_timeout`], with another limit.
pub(crate) async fn with_timeout<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, answer).await.unwrap_or_else(|_| {
        let text = format!("the database gave no answer within {limit:?}");
        let timed_out = io::Error::new(io::ErrorKind::TimedOut, text);
        Err(sqlx::Error::Io(timed_out))
    })
}
