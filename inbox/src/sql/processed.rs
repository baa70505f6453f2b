//! Statements on `inbox.processed` and `inbox.processed_other`, which hold the ids of handled messages.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow};
use statement::Link;
use uuid::Uuid;

use super::session::TxIdentity;
use crate::dedup::Record;

// Records the id and checks for a parked message of the key in one round trip.
pub(crate) const RECORD_RING: &str = "
WITH recorded AS (
    INSERT INTO inbox.processed (consumer, message_id, slot) VALUES ($1, $3, $4)
    ON CONFLICT DO NOTHING RETURNING 1)
SELECT EXISTS (SELECT FROM recorded) AS is_new,
       $2::pg_catalog.text IS NOT NULL AND EXISTS (SELECT FROM inbox.parked AS p
           WHERE (p.consumer, p.key) OPERATOR(pg_catalog.=) ($1, $2) AND p.holds_key) AS held,
       pg_catalog.clock_timestamp() AS now,
       pg_catalog.pg_current_xact_id()::pg_catalog.text AS xid, pg_catalog.pg_backend_pid() AS pid";

// Sorted, so that two processes with the same messages cannot deadlock. If an id occurs twice, the first
// occurrence is the new one. A message that a parked one holds back is not recorded, even if the same id occurs
// with another key too.
pub(crate) const RECORD_ALL: &str = "
WITH asked AS (
    SELECT a.message_id, a.slot, a.n,
           a.key IS NOT NULL AND EXISTS (SELECT FROM inbox.parked AS p
               WHERE (p.consumer, p.key) OPERATOR(pg_catalog.=) ($1, a.key) AND p.holds_key) AS held
    FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.uuid[]), pg_catalog.unnest($3::smallint[]),
                    pg_catalog.unnest($4::pg_catalog.text[]))
         WITH ORDINALITY AS a (message_id, slot, key, n)),
recorded AS (
    INSERT INTO inbox.processed (consumer, message_id, slot)
    SELECT $1, a.message_id, a.slot FROM asked AS a WHERE NOT a.held ORDER BY a.message_id
    ON CONFLICT DO NOTHING RETURNING message_id)
SELECT CASE WHEN NOT a.held
            THEN r.message_id IS NOT NULL
                 AND pg_catalog.row_number() OVER (PARTITION BY a.message_id, a.held ORDER BY a.n)
                     OPERATOR(pg_catalog.=) 1
       END AS is_new,
       pg_catalog.clock_timestamp() AS now,
       pg_catalog.pg_current_xact_id()::pg_catalog.text AS xid, pg_catalog.pg_backend_pid() AS pid
FROM asked AS a LEFT JOIN recorded AS r ON r.message_id OPERATOR(pg_catalog.=) a.message_id
ORDER BY a.n";

pub(crate) const RECORD_OTHER: &str = "
WITH recorded AS (
    INSERT INTO inbox.processed_other (consumer, id_hash) VALUES ($1, $3)
    ON CONFLICT DO NOTHING RETURNING 1)
SELECT EXISTS (SELECT FROM recorded) AS is_new,
       $2::pg_catalog.text IS NOT NULL AND EXISTS (SELECT FROM inbox.parked AS p
           WHERE (p.consumer, p.key) OPERATOR(pg_catalog.=) ($1, $2) AND p.holds_key) AS held,
       pg_catalog.clock_timestamp() AS now,
       pg_catalog.pg_current_xact_id()::pg_catalog.text AS xid, pg_catalog.pg_backend_pid() AS pid";

pub(crate) const IS_ANY_RECORDED: &str = "
SELECT EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.uuid[]),
                                      pg_catalog.unnest($3::smallint[])) AS a (message_id, slot)
               JOIN inbox.processed AS p
                 ON (p.message_id, p.slot) OPERATOR(pg_catalog.=) (a.message_id, a.slot)
               WHERE p.consumer OPERATOR(pg_catalog.=) $1)";

pub(crate) const EXPIRE_OTHER: &str = "
DELETE FROM inbox.processed_other WHERE (consumer, id_hash) OPERATOR(pg_catalog.=) ANY (
    SELECT o.consumer, o.id_hash FROM inbox.processed_other AS o
    WHERE o.consumer OPERATOR(pg_catalog.=) $1
      AND o.processed_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp()
          OPERATOR(pg_catalog.-) ($2 OPERATOR(pg_catalog.*) interval '1 second'))
    ORDER BY o.processed_at LIMIT $3)";

/// Result of [`record`].
#[derive(Debug, FromRow)]
pub(crate) struct Recorded {
    /// `true` if the id was new; `false` if the message is a duplicate.
    pub(crate) is_new: bool,
    /// `true` if a parked message holds the key.
    pub(crate) held: bool,
    /// The database's time.
    pub(crate) now: DateTime<Utc>,
    /// The transaction's id.
    pub(crate) xid: String,
    /// Process id of the session at the server.
    pub(crate) pid: i32,
}

/// Records an id if it is new, and checks whether a parked message holds the key.
///
/// Waits while another open transaction has recorded the same id.
pub(crate) async fn record(
    link: &mut Link<'_>,
    consumer: &str,
    record: &Record,
    key: Option<&str>,
) -> Result<Recorded, sqlx::Error> {
    let statement = match record {
        Record::Ring { .. } => link.query_as(RECORD_RING),
        Record::Hashed { .. } => link.query_as(RECORD_OTHER),
    };
    let statement = statement.bind(consumer).bind(key);
    let statement = match record {
        Record::Ring { uuid, slot } => statement.bind(uuid).bind(slot),
        Record::Hashed { hash } => statement.bind(&hash[..]),
    };
    statement.fetch_one(link.connection()).await
}

/// A message whose id is to be recorded in the ring.
#[derive(Debug)]
pub(crate) struct DedupEntry {
    pub(crate) uuid: Uuid,
    pub(crate) slot: i16,
    /// Time of the id's creation, which a UUID version 7 contains.
    pub(crate) made_at: DateTime<Utc>,
    pub(crate) key: Option<String>,
}

/// Result of [`record_all`].
#[derive(Debug)]
pub(crate) struct RecordedAll {
    /// For each id, `true` if it was new; `None` if it was not recorded because a parked message holds its key.
    pub(crate) is_new: Vec<Option<bool>>,
    /// The database's time.
    pub(crate) now: DateTime<Utc>,
    /// The transaction and its session.
    pub(crate) identity: TxIdentity,
}

/// Records many ids in one statement, like [`record`].
pub(crate) async fn record_all(
    link: &mut Link<'_>,
    consumer: &str,
    asked: &[DedupEntry],
) -> Result<RecordedAll, sqlx::Error> {
    let rows: Vec<(Option<bool>, DateTime<Utc>, String, i32)> = link
        .query_as(RECORD_ALL)
        .bind(consumer)
        .bind(asked.iter().map(|id| id.uuid).collect::<Vec<_>>())
        .bind(asked.iter().map(|id| id.slot).collect::<Vec<_>>())
        .bind(asked.iter().map(|id| id.key.as_deref()).collect::<Vec<_>>())
        .fetch_all(link.connection())
        .await?;
    let (_, now, xid, pid) = rows.first().cloned().ok_or(sqlx::Error::RowNotFound)?;
    Ok(RecordedAll {
        is_new: rows.into_iter().map(|(is_new, ..)| is_new).collect(),
        now,
        identity: TxIdentity {
            xid,
            pid,
            role: None,
        },
    })
}

/// Returns `true` if at least one of the ids is recorded.
pub(crate) async fn is_any_recorded(
    link: &mut Link<'_>,
    consumer: &str,
    asked: &[DedupEntry],
) -> Result<bool, sqlx::Error> {
    link.query_scalar(IS_ANY_RECORDED)
        .bind(consumer)
        .bind(asked.iter().map(|id| id.uuid).collect::<Vec<_>>())
        .bind(asked.iter().map(|id| id.slot).collect::<Vec<_>>())
        .fetch_one(link.connection())
        .await
}

/// Deletes up to `limit` ids older than `age`; returns the number of deleted ids.
pub(crate) async fn expire_other(
    link: &mut Link<'_>,
    consumer: &str,
    age: Duration,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let deleted = link
        .query(EXPIRE_OTHER)
        .bind(consumer)
        .bind(age.as_secs_f64())
        .bind(limit)
        .execute(link.connection())
        .await?;
    Ok(deleted.rows_affected())
}

/// A leaf of the ring, with the statements that expire it. Table names cannot be parameters, so each leaf has
/// separate statements, made from its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaf(i16);

/// Consumers whose ids a leaf holds.
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

    pub(crate) fn lock_text(self) -> String {
        format!(
            "LOCK TABLE inbox.processed_{:02} IN ACCESS EXCLUSIVE MODE",
            self.0
        )
    }

    pub(crate) fn ends_text(self) -> String {
        format!(
            "SELECT pg_catalog.min(consumer), pg_catalog.max(consumer) FROM inbox.processed_{:02}",
            self.0
        )
    }

    pub(crate) fn truncate_text(self) -> String {
        format!("TRUNCATE inbox.processed_{:02}", self.0)
    }

    /// Locks the leaf against all other sessions, so that the result of [`Leaf::holds`] stays true.
    pub(crate) async fn lock(self, link: &mut Link<'_>) -> Result<(), sqlx::Error> {
        link.query(AssertSqlSafe(self.lock_text()))
            .execute(link.connection())
            .await?;
        Ok(())
    }

    /// Reads the lowest and the highest consumer of the primary key; returns whose ids the leaf holds.
    pub(crate) async fn holds(
        self,
        link: &mut Link<'_>,
        consumer: &str,
    ) -> Result<Holds, sqlx::Error> {
        let ends: (Option<String>, Option<String>) = link
            .query_as(AssertSqlSafe(self.ends_text()))
            .fetch_one(link.connection())
            .await?;
        Ok(match ends {
            (Some(first), Some(last)) if first == consumer && last == consumer => Holds::OwnOnly,
            (Some(_), _) => Holds::Others,
            (None, _) => Holds::Nothing,
        })
    }

    /// Empties the leaf.
    pub(crate) async fn truncate(self, link: &mut Link<'_>) -> Result<(), sqlx::Error> {
        link.query(AssertSqlSafe(self.truncate_text()))
            .execute(link.connection())
            .await?;
        Ok(())
    }
}
