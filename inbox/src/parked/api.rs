//! Parked deliveries for operators and their tools.

use chrono::{DateTime, Utc};
use outbox::{link::Statements, wire::Incoming};
use sqlx::PgPool;

use super::row;
use crate::{
    Reason,
    sql::{self, parked::Listed},
};

/// The parked deliveries of a consumer.
///
/// The same can be done in SQL: `SELECT … FROM inbox.parked`, `inbox.retry(id)` and
/// `inbox.discard(id)`.
#[derive(Debug, Clone)]
pub struct Parked {
    pool: PgPool,
    statements: Statements,
    consumer: String,
}

/// A parked delivery.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ParkedDelivery {
    /// The row's id, for [`Parked::retry`] and [`Parked::discard`].
    pub id: i64,
    /// Whether only an operator can revive it.
    pub dead: bool,
    /// Why it is parked. `None` for a reason that this release does not know.
    pub reason: Option<Reason>,
    /// Whether later messages of its key wait behind it.
    pub holds_key: bool,
    /// Attempts so far.
    pub attempts: i32,
    /// The next attempt; none for a dead one, and for one that waits behind another.
    pub due_at: Option<DateTime<Utc>>,
    /// Text of the last error and of its causes.
    pub error: Option<String>,
    /// When it was parked; if it was put off or given up since, when that was.
    pub parked_at: DateTime<Utc>,
    /// The message.
    pub message: Incoming,
    /// The message's body.
    pub body: Vec<u8>,
}

impl Parked {
    /// Makes a view of the deliveries that the consumer parked in the database of `pool`.
    pub fn new(pool: PgPool, consumer: impl Into<String>) -> Self {
        Self::with_statements(pool, Statements::Prepared, consumer)
    }

    pub(crate) fn with_statements(
        pool: PgPool,
        statements: Statements,
        consumer: impl Into<String>,
    ) -> Self {
        Self {
            pool,
            statements,
            consumer: consumer.into(),
        }
    }

    /// Sets whether statements are prepared. Defaults to true; see
    /// [`ConsumerBuilder::prepared_statements`](crate::ConsumerBuilder::prepared_statements).
    #[must_use]
    pub const fn prepared_statements(mut self, prepared: bool) -> Self {
        self.statements = Statements::prepared(prepared);
        self
    }

    /// Lists up to `limit` deliveries with an id above `after`, in the order of their parking.
    ///
    /// # Errors
    /// Fails if the database cannot be asked.
    pub async fn list(&self, after: i64, limit: u32) -> Result<Vec<ParkedDelivery>, sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        let mut link = self.statements.within(&mut tx);
        let rows = sql::parked::list(&mut link, &self.consumer, after, limit.into()).await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(ParkedDelivery::from).collect())
    }

    /// Tries a delivery again at once, dead or not, with its attempts forgotten.
    ///
    /// Returns false if the consumer has none with this id.
    ///
    /// # Errors
    /// Fails if the database cannot be asked.
    pub async fn retry(&self, id: i64) -> Result<bool, sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        let mut link = self.statements.within(&mut tx);
        let done = sql::parked::retry(&mut link, &self.consumer, id).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// Gives a delivery up for good and lets its key go on.
    ///
    /// Returns false if the consumer has none with this id.
    ///
    /// # Errors
    /// Fails if the database cannot be asked.
    pub async fn discard(&self, id: i64) -> Result<bool, sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        let mut link = self.statements.within(&mut tx);
        let done = sql::parked::discard(&mut link, &self.consumer, id).await?;
        tx.commit().await?;
        Ok(done)
    }
}

impl From<Listed> for ParkedDelivery {
    fn from(listed: Listed) -> Self {
        let (message, body) = row::message(listed.message);
        Self {
            id: listed.id,
            dead: listed.state == "dead",
            reason: Reason::from_name(&listed.reason),
            holds_key: listed.holds_key,
            attempts: listed.attempts,
            due_at: listed.due_at,
            error: listed.error,
            parked_at: listed.parked_at,
            message,
            body,
        }
    }
}
