//! The statements on `inbox.processed` and `inbox.processed_other`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use crate::dedup::Record;

// One statement, one round trip: the record, and whether the key must wait.
const RECORD_RING: &str = "
WITH recorded AS (
    INSERT INTO inbox.processed (consumer, message_id, slot) VALUES ($1, $3, $4)
    ON CONFLICT DO NOTHING RETURNING 1)
SELECT EXISTS (SELECT FROM recorded) AS is_new,
       $2::text IS NOT NULL AND EXISTS (SELECT FROM inbox.parked AS p
           WHERE p.consumer = $1 AND p.key = $2 AND p.holds_key) AS held,
       clock_timestamp() AS now, pg_current_xact_id()::text AS xid, pg_backend_pid() AS pid";

const RECORD_OTHER: &str = "
WITH recorded AS (
    INSERT INTO inbox.processed_other (consumer, id_hash) VALUES ($1, $3)
    ON CONFLICT DO NOTHING RETURNING 1)
SELECT EXISTS (SELECT FROM recorded) AS is_new,
       $2::text IS NOT NULL AND EXISTS (SELECT FROM inbox.parked AS p
           WHERE p.consumer = $1 AND p.key = $2 AND p.holds_key) AS held,
       clock_timestamp() AS now, pg_current_xact_id()::text AS xid, pg_backend_pid() AS pid";

const EXPIRE_OTHER: &str = "
DELETE FROM inbox.processed_other WHERE (consumer, id_hash) IN (
    SELECT o.consumer, o.id_hash FROM inbox.processed_other AS o
    WHERE o.consumer = $1 AND o.processed_at < clock_timestamp() - $2 * interval '1 second'
    ORDER BY o.processed_at LIMIT $3)";

/// What [`record`] found.
#[derive(Debug, FromRow)]
pub(crate) struct Recorded {
    /// Whether the id was new; otherwise the message is a duplicate.
    pub(crate) is_new: bool,
    /// Whether a parked message holds the key.
    pub(crate) held: bool,
    /// The database's time.
    pub(crate) now: DateTime<Utc>,
    /// The transaction's id.
    pub(crate) xid: String,
    /// The session's process at the server.
    pub(crate) pid: i32,
}

/// Records an id, unless it is there, and asks whether the key is held.
///
/// Waits for another transaction that has recorded the same id and is still open.
pub(crate) async fn record(
    connection: &mut PgConnection,
    consumer: &str,
    record: &Record,
    key: Option<&str>,
) -> Result<Recorded, sqlx::Error> {
    let statement = match record {
        Record::Ring { .. } => sqlx::query_as(RECORD_RING),
        Record::Hashed { .. } => sqlx::query_as(RECORD_OTHER),
    };
    let statement = statement.bind(consumer).bind(key);
    let statement = match record {
        Record::Ring { uuid, slot } => statement.bind(uuid).bind(slot),
        Record::Hashed { hash } => statement.bind(&hash[..]),
    };
    statement.fetch_one(connection).await
}

/// Deletes up to `limit` ids older than `age`; returns how many there were.
pub(crate) async fn expire_other(
    connection: &mut PgConnection,
    consumer: &str,
    age: Duration,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(EXPIRE_OTHER)
        .bind(consumer)
        .bind(age.as_secs_f64())
        .bind(limit)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}

/// The statements that expire one leaf of the ring. Names cannot be parameters, so that each leaf
/// has its own text, made from its number alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaf(i16);

/// Whose ids a leaf holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Nothing,
    OwnOnly,
    Others,
}

impl Leaf {
    pub(crate) const fn new(slot: i16) -> Self {
        Self(slot)
    }

    pub(crate) const fn slot(self) -> i16 {
        self.0
    }

    /// Locks the leaf against everybody, so that what [`Leaf::holds`] says stays true.
    pub(crate) async fn lock(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let text = format!(
            "LOCK TABLE inbox.processed_{:02} IN ACCESS EXCLUSIVE MODE",
            self.0
        );
        sqlx::query(AssertSqlSafe(text)).execute(connection).await?;
        Ok(())
    }

    /// Looks at the two ends of the primary key, which begins with the consumer.
    pub(crate) async fn holds(
        self,
        connection: &mut PgConnection,
        consumer: &str,
    ) -> Result<Holds, sqlx::Error> {
        let text = format!(
            "SELECT min(consumer), max(consumer) FROM inbox.processed_{:02}",
            self.0
        );
        let ends: (Option<String>, Option<String>) = sqlx::query_as(AssertSqlSafe(text))
            .fetch_one(connection)
            .await?;
        Ok(match ends {
            (Some(first), Some(last)) if first == consumer && last == consumer => Holds::OwnOnly,
            (Some(_), _) => Holds::Others,
            (None, _) => Holds::Nothing,
        })
    }

    /// Empties the leaf.
    pub(crate) async fn truncate(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let text = format!("TRUNCATE inbox.processed_{:02}", self.0);
        sqlx::query(AssertSqlSafe(text)).execute(connection).await?;
        Ok(())
    }
}
