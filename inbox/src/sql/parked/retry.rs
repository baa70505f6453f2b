//! Statements that try parked deliveries again.

use std::time::Duration;

use sqlx::FromRow;
use statement::Link;

use super::MessageColumns;
use crate::decision::ParkDecision;

// Committed before the handler runs, so that an attempt that crashes the process is counted. Sub-queries read the
// clock once: an index scan cannot be bounded by a volatile function. A row whose type has no handler in this
// process is left to processes that have one, until it has been due for `$8` seconds. A row whose version is newer than
// this process knows is left to processes that know it; a row that was behind another one is taken, to be marked so.
pub(crate) const CLAIM: &str = "
UPDATE inbox.parked AS p
SET attempts = p.attempts OPERATOR(pg_catalog.+) 1,
    due_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) (interval '1 second'
             OPERATOR(pg_catalog.*)
             CASE WHEN p.reason OPERATOR(pg_catalog.<>) 'crashed' THEN $2
                  ELSE least($5, $4 OPERATOR(pg_catalog.*) (2 OPERATOR(pg_catalog.^)
                                 least(greatest(p.attempts OPERATOR(pg_catalog.-) $6, 0), 16))) END)
WHERE p.id OPERATOR(pg_catalog.=) (
          SELECT d.id FROM inbox.parked AS d
          WHERE (d.consumer, d.state) OPERATOR(pg_catalog.=) ($1, 'waiting')
            AND d.due_at OPERATOR(pg_catalog.<=) (SELECT pg_catalog.clock_timestamp())
            AND ($3 OR d.reason OPERATOR(pg_catalog.<>) 'crashed')
            AND (coalesce(d.type, d.topic) OPERATOR(pg_catalog.=) ANY ($7)
                 OR (d.reason OPERATOR(pg_catalog.<>) 'newer_version'
                     AND d.due_at OPERATOR(pg_catalog.<=) (
                         SELECT pg_catalog.clock_timestamp()
                                OPERATOR(pg_catalog.-) ($8 OPERATOR(pg_catalog.*) interval '1 second'))))
            AND (d.reason OPERATOR(pg_catalog.=) 'behind'
                 OR NOT EXISTS (
                     SELECT FROM ROWS FROM (pg_catalog.unnest($7::pg_catalog.text[]),
                                            pg_catalog.unnest($9::pg_catalog.int8[])) AS known (type, newest)
                     WHERE known.type OPERATOR(pg_catalog.=) coalesce(d.type, d.topic)
                       AND known.newest OPERATOR(pg_catalog.<) d.version))
          ORDER BY d.due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING p.id, p.reason, p.holds_key, p.attempts,
          CASE WHEN p.reason OPERATOR(pg_catalog.=) 'deferred'
               THEN extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.parked_at)
                    ::double precision
               ELSE 0 END AS age,
          p.message_id,
          p.source, p.topic, p.key, p.type AS type_name, p.content_type, p.headers, p.payload";

// Waits for the lock instead of skipping the row: another worker's claim locks the row for a moment even if it does
// not take it, and a claimed row that is skipped would not run until its lease ends.
pub(crate) const LOCK_CLAIMED: &str = "
SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text AS xid, pg_catalog.pg_backend_pid() AS pid,
       pg_catalog.current_setting('role') AS role,
       p.reason OPERATOR(pg_catalog.=) 'future'
       OR EXISTS (SELECT FROM inbox.processed_other AS o
                  WHERE (o.consumer, o.id_hash) OPERATOR(pg_catalog.=) (p.consumer, $3)) AS outside
FROM inbox.parked AS p
WHERE (p.id, p.attempts, p.state) OPERATOR(pg_catalog.=) ($1, $2, 'waiting')
FOR NO KEY UPDATE";

pub(crate) const DELETE: &str = "DELETE FROM inbox.parked WHERE id OPERATOR(pg_catalog.=) $1";

pub(crate) const RELEASE_NEXT: &str = "SELECT inbox.release_next($1, $2)";

// FOR UPDATE conflicts with KEY SHARE: no other delivery can park behind the row while its key is released.
pub(crate) const LOCK_SETTLED: &str = "
SELECT p.holds_key FROM inbox.parked AS p
WHERE (p.id, p.attempts) OPERATOR(pg_catalog.=) ($1, $2) FOR UPDATE";

// `parked_at` restarts when a message becomes dead, or is deferred for the first time: the time for which a message
// may be deferred counts from there.
pub(crate) const SETTLE: &str = "
UPDATE inbox.parked
SET parked_at = CASE WHEN $2 OPERATOR(pg_catalog.=) 'dead'
                          OR ($3 OPERATOR(pg_catalog.=) 'deferred'
                              AND reason OPERATOR(pg_catalog.<>) 'deferred')
                     THEN pg_catalog.clock_timestamp() ELSE parked_at END,
    state = $2, reason = $3, holds_key = $4, attempts = $5,
    due_at = pg_catalog.clock_timestamp()
             OPERATOR(pg_catalog.+) ($6 OPERATOR(pg_catalog.*) interval '1 second'),
    error = $7
WHERE id OPERATOR(pg_catalog.=) $1";

// Makes a row that was behind another one due since it was parked: it has waited for the same handler since then.
pub(crate) const BACKDATE_NEXT: &str = "
UPDATE inbox.parked AS p SET due_at = p.parked_at
WHERE p.id OPERATOR(pg_catalog.=) (
          SELECT n.id FROM inbox.parked AS n
          WHERE (n.consumer, n.key) OPERATOR(pg_catalog.=) ($1, $2) AND n.holds_key
          ORDER BY n.id LIMIT 1)
  AND p.reason OPERATOR(pg_catalog.=) 'behind' AND p.due_at IS NOT NULL
  AND coalesce(p.type, p.topic) OPERATOR(pg_catalog.=) $3";

// Rows that wait for a row that is gone: it was deleted by hand, or by two transactions at the same time.
pub(crate) const RELEASE_ORPHANS: &str = "
UPDATE inbox.parked AS p SET due_at = pg_catalog.clock_timestamp()
FROM (SELECT DISTINCT ON (h.key) h.id, h.reason, h.due_at FROM inbox.parked AS h
      WHERE h.consumer OPERATOR(pg_catalog.=) $1 AND h.holds_key ORDER BY h.key, h.id) AS first
WHERE (p.id, p.state, first.reason) OPERATOR(pg_catalog.=) (first.id, 'waiting', 'behind')
  AND first.due_at IS NULL AND p.due_at IS NULL";

/// A parked delivery that this process is about to try again.
#[derive(Debug, FromRow)]
pub(crate) struct Claimed {
    pub(crate) id: i64,
    pub(crate) reason: String,
    pub(crate) holds_key: bool,
    /// Number of attempts, including the coming one.
    pub(crate) attempts: i32,
    /// Seconds since the message was first deferred; 0 if it was not.
    pub(crate) age: f64,
    #[sqlx(flatten)]
    pub(crate) message: MessageColumns,
}

/// The session that holds a claimed row locked.
#[derive(Debug, FromRow)]
pub(crate) struct Locked {
    /// The transaction's id.
    pub(crate) xid: String,
    /// Process id of the session at the server.
    pub(crate) pid: i32,
    /// The session's role.
    pub(crate) role: String,
    /// `true` if the id's time was in the future, or before the dedup window, when the message was parked. The id
    /// is then recorded in another table than that of a copy which arrives now.
    #[sqlx(rename = "outside")]
    pub(crate) was_outside_window: bool,
}

/// Times for which a claimed row belongs to the worker that claimed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leases {
    pub(crate) usual: Duration,
    /// Lease of a row whose handler may have crashed the process, at its first attempt as such; doubles with each
    /// further attempt, up to `crashed_longest`.
    pub(crate) crashed: Duration,
    pub(crate) crashed_longest: Duration,
    /// Number of attempts before a row was parked as `crashed`.
    pub(crate) crashes: i32,
}

/// Due rows that a worker claims.
#[derive(Debug, Clone)]
pub(crate) struct Takes {
    /// `true` to claim rows whose handler may crash the process too.
    pub(crate) crashed: bool,
    /// Types that have a handler in this process.
    pub(crate) types: Vec<&'static str>,
    /// The newest version of each of these types that this process knows.
    pub(crate) newest: Vec<i64>,
    /// Time after which a due row of another type is claimed too.
    pub(crate) unhandled: Duration,
}

/// Claims a due row, if there is one, and counts the attempt. No other worker claims the row during its lease.
pub(crate) async fn claim(
    link: &mut Link<'_>,
    consumer: &str,
    leases: Leases,
    takes: &Takes,
) -> Result<Option<Claimed>, sqlx::Error> {
    link.query_as(CLAIM)
        .bind(consumer)
        .bind(leases.usual.as_secs_f64())
        .bind(takes.crashed)
        .bind(leases.crashed.as_secs_f64())
        .bind(leases.crashed_longest.as_secs_f64())
        .bind(leases.crashes)
        .bind(&takes.types)
        .bind(takes.unhandled.as_secs_f64())
        .bind(&takes.newest)
        .fetch_optional(link.connection())
        .await
}

/// Locks a claimed row; returns `None` if the row is gone or another worker has claimed it since. `hash` is the
/// message's hash for `inbox.processed_other`; `None` if all messages of its kind are recorded there.
pub(crate) async fn lock_claimed(
    link: &mut Link<'_>,
    id: i64,
    attempts: i32,
    hash: Option<&[u8]>,
) -> Result<Option<Locked>, sqlx::Error> {
    link.query_as(LOCK_CLAIMED)
        .bind(id)
        .bind(attempts)
        .bind(hash)
        .fetch_optional(link.connection())
        .await
}

/// Deletes a row that was handled.
pub(crate) async fn delete(link: &mut Link<'_>, id: i64) -> Result<(), sqlx::Error> {
    link.query(DELETE)
        .bind(id)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Makes the key's next row due if it waits for the row before it.
pub(crate) async fn release_next(
    link: &mut Link<'_>,
    consumer: &str,
    key: &str,
) -> Result<(), sqlx::Error> {
    link.query(RELEASE_NEXT)
        .bind(consumer)
        .bind(key)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Sets back the due time of the key's next row, which [`release_next`] made due, to the time at which the row was
/// parked, if the row is of type `type_name`. For types without a handler in this process, whose wait for a handler
/// counts from there.
pub(crate) async fn backdate_next(
    link: &mut Link<'_>,
    consumer: &str,
    key: &str,
    type_name: &str,
) -> Result<(), sqlx::Error> {
    link.query(BACKDATE_NEXT)
        .bind(consumer)
        .bind(key)
        .bind(type_name)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Updates a claimed row that was not handled; returns `true` if the row held its key until now, and `None` if the
/// row is gone or another worker has claimed it since.
pub(crate) async fn settle(
    link: &mut Link<'_>,
    id: i64,
    attempts: i32,
    decision: &ParkDecision,
) -> Result<Option<bool>, sqlx::Error> {
    let held: Option<bool> = link
        .query_scalar(LOCK_SETTLED)
        .bind(id)
        .bind(attempts)
        .fetch_optional(link.connection())
        .await?;
    if held.is_some() {
        link.query(SETTLE)
            .bind(id)
            .bind(decision.state())
            .bind(decision.reason.as_str())
            .bind(decision.holds_key)
            .bind(decision.counted())
            .bind(decision.due_in().map(|wait| wait.as_secs_f64()))
            .bind(&decision.error)
            .execute(link.connection())
            .await?;
    }
    Ok(held)
}

/// Makes rows due that no other row will release; returns the number of such rows.
pub(crate) async fn release_orphans(
    link: &mut Link<'_>,
    consumer: &str,
) -> Result<u64, sqlx::Error> {
    let released = link
        .query(RELEASE_ORPHANS)
        .bind(consumer)
        .execute(link.connection())
        .await?;
    Ok(released.rows_affected())
}
