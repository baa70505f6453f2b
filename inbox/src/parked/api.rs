//! Parked deliveries for operators and their tools.

use chrono::{DateTime, Utc};
use outbox::wire::Incoming;
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
    /// When it was parked.
    pub parked_at: DateTime<Utc>,
    /// The message.
    pub message: Incoming,
    /// The message's body.
    pub body: Vec<u8>,
}

impl Parked {
    /// Makes a view of the deliveries that the consumer parked in the database of `pool`.
    pub fn new(pool: PgPool, consumer: impl Into<String>) -> Self {
        Self {
            pool,
            consumer: consumer.into(),
        }
    }

    /// Lists up to `limit` deliveries with an id above `after`, in the order of their parking.
    ///
    /// # Errors
    /// Fails if the database cannot be asked.
    pub async fn list(&self, after: i64, limit: u32) -> Result<Vec<ParkedDelivery>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = sql::parked::list(&mut connection, &self.consumer, after, limit.into()).await?;
        Ok(rows.into_iter().map(ParkedDelivery::from).collect())
    }

    /// Tries a delivery again at once, dead or not, with its attempts forgotten.
    ///
    /// Returns false if the consumer has none with this id.
    ///
    /// # Errors
    /// Fails if the database cannot be asked.
    pub async fn retry(&self, id: i64) -> Result<bool, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        sql::parked::retry(&mut connection, &self.consumer, id).await
    }

    /// Gives a delivery up for good and lets its key go on.
    ///
    /// Returns false if the consumer has none with this id.
    ///
    /// # Errors
    /// Fails if the database cannot be asked.
    pub async fn discard(&self, id: i64) -> Result<bool, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        sql::parked::discard(&mut connection, &self.consumer, id).await
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
