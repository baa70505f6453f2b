//! What the transaction of a delivery needs to know.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use outbox::{
    Outbox,
    link::{Link, Statements},
};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::time::timeout;

use super::{durability::Durability, prefetched::PrefetchedTransactions};
use crate::{dedup::Window, events, policy::LONGEST, sql};

/// Longest wait for one answer of the database, apart from a handler's own statements.
const ANSWER: Duration = Duration::from_secs(30);

/// Longest that a statement is on its way to a busy server.
const LATER: Duration = Duration::from_secs(5);

/// Time for what a handler's transaction has around it, the rollback after it took too long included.
const AROUND: Duration = Duration::from_secs(15);

/// What the transaction of a delivery needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) pool: PgPool,
    pub(crate) consumer: Arc<str>,
    pub(crate) window: Window,
    pub(crate) handler_timeout: Duration,
    pub(crate) outbox: Outbox,
    pub(crate) statements: Statements,
    /// Shared by all that runs in transactions of these settings.
    pub(crate) prefetched: Arc<PrefetchedTransactions>,
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
            prefetched: Arc::default(),
            durability: Arc::default(),
        }
    }

    /// Sets whether statements are prepared. If not, those of the handlers' outbox are not either.
    pub(crate) const fn prepare_statements(&mut self, prepared: bool) {
        self.statements = Statements::prepared(prepared);
        if !prepared {
            self.outbox = self.outbox.without_prepared_statements();
        }
    }

    /// Begins a transaction. Everything that the inbox does happens in one: behind a pooler,
    /// statements outside may each go to another session.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut begun = match self.prefetched.take() {
            Some(begun) => begun,
            None => outbox::transaction::begin(&self.pool).await?,
        };
        self.durability.see_to(&mut self.link(&mut begun)).await?;
        Ok(begun)
    }

    /// Whether a transaction that has just begun should be kept for a delivery.
    ///
    /// Not while somebody may be waiting for a connection, whom the pool would serve first.
    pub(super) fn keeps_prefetching(&self) -> bool {
        let pool = &self.pool;
        let has_spare = pool.num_idle() > 0 || pool.size() < pool.options().get_max_connections();
        has_spare && !pool.is_closed() && self.prefetched.keeps_another()
    }

    /// Sends statements within such a transaction.
    pub(crate) fn link<'c>(&self, transaction: &'c mut PgConnection) -> Link<'c> {
        self.statements.within(transaction)
    }

    /// Longest time that a delivery's transaction can take.
    fn longest_transaction(&self) -> Duration {
        self.handler_timeout.saturating_add(ANSWER)
    }

    /// Waits until ids are recorded, which another process may be handling: then for the end of its
    /// transaction, but not for one that is frozen or cut off.
    ///
    /// A statement that nobody waits for any more would go on waiting at the server, and take a connection
    /// with it, so that is ended too.
    pub(crate) async fn recorded<T>(
        &self,
        recording: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let mut recording = pin!(recording);
        let longest = self.longest_transaction();
        if let Ok(recorded) = timeout(longest, &mut recording).await {
            return recorded;
        }
        let relieving = async {
            let mut tx = self.begin().await?;
            // A statement begins at the server later than its client began to wait.
            let age = longest.saturating_sub(LATER);
            let relieved = sql::session::relieve(&mut self.link(&mut tx), age).await?;
            tx.commit().await?;
            Ok(relieved)
        };
        // Or there is no connection for it now: then at the next attempt.
        if let Ok((sessions @ 1.., _)) = within(relieving).await {
            let consumer = &self.consumer;
            events::FrozenEnded { consumer, sessions }.emit();
        }
        within(recording).await
    }

    /// How long a claimed row is left to who claimed it: it covers the moments before and after its
    /// transaction, which locks the row, and whether their process was killed in one of them.
    pub(crate) fn lease(&self) -> Duration {
        self.handler_timeout.saturating_add(AROUND).min(LONGEST)
    }
}

/// Waits for the database's answer, but not for ever: a server that is gone without a word would
/// hold a worker and a key.
pub(crate) async fn within<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    within_time(ANSWER, answer).await
}

pub(crate) async fn within_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, answer).await.unwrap_or_else(|_| {
        let text = format!("the database gave no answer within {limit:?}");
        let timed_out = io::Error::new(io::ErrorKind::TimedOut, text);
        Err(sqlx::Error::Io(timed_out))
    })
}
