//! Statements of parked deliveries that are tried again.

use std::time::Duration;

use outbox::link::Link;
use sqlx::FromRow;

use super::MessageColumns;
use crate::policy::ParkDecision;

// Committed before the handler runs, so that an attempt which ends the process is counted. The time is asked for
// once: an index cannot be bounded by a function that changes with each row. A type without a handler here is
// left to processes that have one, until it has been due for too long.
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
                 OR d.due_at OPERATOR(pg_catalog.<=) (
                        SELECT pg_catalog.clock_timestamp()
                               OPERATOR(pg_catalog.-) ($8 OPERATOR(pg_catalog.*) interval '1 second')))
          ORDER BY d.due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING p.id, p.holds_key, p.attempts,
          CASE WHEN p.reason OPERATOR(pg_catalog.=) 'deferred'
               THEN extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.parked_at)
                    ::double precision
               ELSE 0 END AS age,
          p.message_id,
          p.source, p.topic, p.key, p.type AS type_name, p.content_type, p.headers, p.payload";

// Waits rather than skips: the claim of another worker locks the row for a moment even where it
// does not take it, and a claimed row that nobody runs waits for the end of its lease.
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

// The whole row, KEY SHARE included: nobody may queue up behind it while it lets its key go.
pub(crate) const LOCK_SETTLED: &str = "
SELECT p.holds_key FROM inbox.parked AS p
WHERE (p.id, p.attempts) OPERATOR(pg_catalog.=) ($1, $2) FOR UPDATE";

// Parked from now on, in a way, if it has waited for something else until now: for as long as it may be
// put off, that counts.
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

// It has waited since it was parked, and for the same.
pub(crate) const OVERTAKE: &str = "
UPDATE inbox.parked AS p SET due_at = p.parked_at
WHERE p.id OPERATOR(pg_catalog.=) (
          SELECT n.id FROM inbox.parked AS n
          WHERE (n.consumer, n.key) OPERATOR(pg_catalog.=) ($1, $2) AND n.holds_key
          ORDER BY n.id LIMIT 1)
  AND p.reason OPERATOR(pg_catalog.=) 'behind' AND p.due_at IS NOT NULL
  AND coalesce(p.type, p.topic) OPERATOR(pg_catalog.=) $3";

// Rows that wait for a row which is gone: deleted by hand, or by two transactions at once.
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
    pub(crate) holds_key: bool,
    /// Attempts, the coming one included.
    pub(crate) attempts: i32,
    /// Seconds since it was first put off, if it was.
    pub(crate) age: f64,
    #[sqlx(flatten)]
    pub(crate) message: MessageColumns,
}

/// The session that holds a claimed row locked.
#[derive(Debug, FromRow)]
pub(crate) struct Locked {
    /// The transaction's id.
    pub(crate) xid: String,
    /// The session's process at the server.
    pub(crate) pid: i32,
    /// The session's role.
    pub(crate) role: String,
    /// Whether its time had not come, or was long past, when it was parked: then it is not recorded where a
    /// copy would be.
    pub(crate) outside: bool,
}

/// How long a claimed row is left to who claimed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leases {
    pub(crate) usual: Duration,
    /// Of a row whose handler may have ended the process, at its first attempts; doubles with each
    /// attempt after them.
    pub(crate) crashed: Duration,
    pub(crate) crashed_longest: Duration,
    /// How many attempts were made before it was set apart.
    pub(crate) crashes: i32,
}

/// Which due rows a worker takes.
#[derive(Debug, Clone)]
pub(crate) struct Takes {
    /// Those that may end the process too.
    pub(crate) crashed: bool,
    /// Types that have a handler.
    pub(crate) types: Vec<&'static str>,
    /// Other types, once they have been due for so long.
    pub(crate) unhandled: Duration,
}

/// Takes a due row, if there is one, and counts the attempt. Nobody else takes it for its lease.
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
        .fetch_optional(link.connection())
        .await
}

/// Locks a claimed row; `None` if it is gone or claimed by somebody else. `hash` is what its message would be
/// recorded by outside the ring, if that is not where all of its kind are.
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

/// Makes the key's next row due, if it waits for the one before it.
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

/// Lets the key's next row, which [`release_next`] made due, count its wait for a handler from when it was
/// parked, if it is of a type that has none.
pub(crate) async fn overtake(
    link: &mut Link<'_>,
    consumer: &str,
    key: &str,
    type_name: &str,
) -> Result<(), sqlx::Error> {
    link.query(OVERTAKE)
        .bind(consumer)
        .bind(key)
        .bind(type_name)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Writes what became of a claimed row that was not handled; returns whether it held its key.
/// `None` if it is gone or claimed by somebody else.
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

/// Makes rows due whose key nobody is going to release; returns how many there were.
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
