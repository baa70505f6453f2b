//! Statements on parked deliveries whose body has a newer version than a process knows.

use sqlx::FromRow;
use statement::Link;

use super::Takes;

/// Largest number of rows that one statement makes due.
pub(crate) const WAKE_ROWS: i64 = 1_000;

/// Number up to which waiting rows are counted.
const COUNTED_ROWS: i64 = 10_000;

// Each known type reads its own part of the index `parked_newer`, so rows of unknown versions cost nothing. A row that
// an operator has made due needs no waking.
pub(crate) const WAKE: &str = "
UPDATE inbox.parked AS p SET due_at = pg_catalog.clock_timestamp()
FROM (SELECT n.id
      FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.int8[]))
               AS known (type, newest),
           LATERAL (SELECT w.id FROM inbox.parked AS w
                    WHERE w.consumer OPERATOR(pg_catalog.=) $1
                      AND coalesce(w.type, w.topic) OPERATOR(pg_catalog.=) known.type
                      AND w.version OPERATOR(pg_catalog.<=) known.newest
                      AND w.reason OPERATOR(pg_catalog.=) 'newer_version' AND w.due_at IS NULL
                    LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED) AS n
      LIMIT $4) AS woken
WHERE p.id OPERATOR(pg_catalog.=) woken.id
  AND p.reason OPERATOR(pg_catalog.=) 'newer_version' AND p.due_at IS NULL";

pub(crate) const COUNT: &str = "
SELECT pg_catalog.count(*) AS messages,
       coalesce(extract(epoch FROM pg_catalog.clock_timestamp()
                                   OPERATOR(pg_catalog.-) pg_catalog.min(w.parked_at)), 0)
           ::pg_catalog.float8 AS oldest
FROM (SELECT p.parked_at FROM inbox.parked AS p
      WHERE p.consumer OPERATOR(pg_catalog.=) $1
        AND p.reason OPERATOR(pg_catalog.=) 'newer_version'
      LIMIT $2) AS w";

/// Rows that wait for a process that knows their version.
#[derive(Debug, FromRow)]
pub(crate) struct Waiting {
    /// Number of the rows, counted up to 10,000.
    pub(crate) messages: i64,
    /// Seconds since the first of them was parked.
    pub(crate) oldest: f64,
}

/// Makes rows due whose version is at most the newest one known; returns their number, at most [`WAKE_ROWS`].
pub(crate) async fn wake(
    link: &mut Link<'_>,
    consumer: &str,
    takes: &Takes,
) -> Result<u64, sqlx::Error> {
    let woken = link
        .query(WAKE)
        .bind(consumer)
        .bind(&takes.types)
        .bind(&takes.newest)
        .bind(WAKE_ROWS)
        .execute(link.connection())
        .await?;
    Ok(woken.rows_affected())
}

/// Counts the rows that wait.
pub(crate) async fn count(link: &mut Link<'_>, consumer: &str) -> Result<Waiting, sqlx::Error> {
    link.query_as(COUNT)
        .bind(consumer)
        .bind(COUNTED_ROWS)
        .fetch_one(link.connection())
        .await
}
