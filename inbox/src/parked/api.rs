//! Parked deliveries for operators and their tools: list, retry, discard.

use std::fmt;

use chrono::{DateTime, Utc};
use postroom_message::Incoming;
use sqlx::PgPool;
use statement::Statements;

use crate::{
    Reason, parked_row,
    sql::{self, parked::Listed},
};

/// Access to the parked deliveries of a consumer.
///
/// In SQL: `SELECT … FROM inbox.parked`, `inbox.retry(id)` and `inbox.discard(id)`.
#[derive(Debug, Clone)]
pub struct Parked {
    pool: PgPool,
    statements: Statements,
    consumer: String,
}

/// A parked delivery.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ParkedDelivery {
    /// The row's id, for [`Parked::retry`] and [`Parked::discard`].
    pub id: i64,
    /// `true` if the delivery is tried again only after [`Parked::retry`].
    pub dead: bool,
    /// Reason of the parking; `None` if this release does not know the reason.
    pub reason: Option<Reason>,
    /// `true` if later messages of its key wait behind the delivery.
    pub holds_key: bool,
    /// Attempts so far.
    pub attempts: i32,
    /// Time of the next attempt; `None` if the delivery is dead, waits behind another one, or waits for a process
    /// that knows its version.
    pub due_at: Option<DateTime<Utc>>,
    /// Text of the last error and of its sources.
    pub error: Option<String>,
    /// Time of the parking, or of a later deferral or death.
    pub parked_at: DateTime<Utc>,
    /// The message.
    pub message: Incoming,
    /// The message's body.
    pub body: Vec<u8>,
}

impl Parked {
    /// Creates access to the deliveries that the consumer parked in the database of `pool`. Statements are
    /// prepared unless [`prepared_statements`](Self::prepared_statements) says otherwise.
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

    /// Sets whether statements are prepared. Defaults to `true`; see
    /// [`ConsumerBuilder::prepared_statements`](crate::ConsumerBuilder::prepared_statements).
    #[must_use]
    pub const fn prepared_statements(mut self, prepared: bool) -> Self {
        self.statements = Statements::prepared(prepared);
        self
    }

    /// Lists up to `limit` deliveries with an id above `after`, by id, which is the order of their parking.
    ///
    /// # Errors
    /// Returns the database's error.
    pub async fn list(&self, after: i64, limit: u32) -> Result<Vec<ParkedDelivery>, sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        let mut link = self.statements.within(&mut tx);
        let rows = sql::parked::list(&mut link, &self.consumer, after, limit.into()).await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(ParkedDelivery::from).collect())
    }

    /// Makes a delivery due at once, dead or not, and resets its number of attempts.
    ///
    /// Returns `false` if the consumer has no parked delivery with this id.
    ///
    /// # Errors
    /// Returns the database's error.
    pub async fn retry(&self, id: i64) -> Result<bool, sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        let mut link = self.statements.within(&mut tx);
        let done = sql::parked::retry(&mut link, &self.consumer, id).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// Deletes a parked delivery, which is never handled, and releases the next one of its key.
    ///
    /// Returns `false` if the consumer has no parked delivery with this id.
    ///
    /// # Errors
    /// Returns the database's error.
    pub async fn discard(&self, id: i64) -> Result<bool, sqlx::Error> {
        let mut tx = outbox::transaction::begin(&self.pool).await?;
        let mut link = self.statements.within(&mut tx);
        let done = sql::parked::discard(&mut link, &self.consumer, id).await?;
        tx.commit().await?;
        Ok(done)
    }
}

impl fmt::Debug for ParkedDelivery {
    /// Shows the delivery without its body, which may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParkedDelivery")
            .field("id", &self.id)
            .field("dead", &self.dead)
            .field("reason", &self.reason)
            .field("attempts", &self.attempts)
            .field("error", &self.error)
            .field("message", &self.message)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl From<Listed> for ParkedDelivery {
    fn from(listed: Listed) -> Self {
        let (message, body) = parked_row::message(listed.message);
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
