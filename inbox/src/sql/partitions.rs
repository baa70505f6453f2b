//! Statements on `inbox.partitions`, which holds the layout of each consumer, and on the locks by which processes share the
//! partitions.
//!
//! All but [`LAYOUT`] run on the dedicated connection that holds a process's locks, so that a process without its locks
//! can change nothing.

use sqlx::{FromRow, postgres::types::Oid};
use statement::Link;
use uuid::Uuid;

pub(crate) const LAYOUT: &str = "
SELECT p.generation, p.partitions, p.previous, p.step, p.drained, p.token,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) p.changed_at) AS age
FROM inbox.partitions AS p WHERE p.consumer OPERATOR(pg_catalog.=) $1";

pub(crate) const CREATE: &str = "
INSERT INTO inbox.partitions (consumer, partitions) VALUES ($1, $2) ON CONFLICT DO NOTHING";

pub(crate) const BEGIN_CHANGE: &str = "
UPDATE inbox.partitions AS p
SET generation = p.generation OPERATOR(pg_catalog.+) 1, previous = p.partitions, partitions = $3, step = 'binding',
    drained = '{}', token = $4, changed_at = pg_catalog.clock_timestamp()
WHERE p.consumer OPERATOR(pg_catalog.=) $1 AND p.generation OPERATOR(pg_catalog.=) $2
  AND p.step OPERATOR(pg_catalog.=) 'ready'";

pub(crate) const ADVANCE: &str = "
UPDATE inbox.partitions AS p SET step = $4, changed_at = pg_catalog.clock_timestamp()
WHERE p.consumer OPERATOR(pg_catalog.=) $1 AND p.generation OPERATOR(pg_catalog.=) $2
  AND p.step OPERATOR(pg_catalog.=) $3";

pub(crate) const FINISH: &str = "
UPDATE inbox.partitions AS p
SET step = 'ready', previous = NULL, drained = '{}', token = NULL, changed_at = pg_catalog.clock_timestamp()
WHERE p.consumer OPERATOR(pg_catalog.=) $1 AND p.generation OPERATOR(pg_catalog.=) $2
  AND p.step OPERATOR(pg_catalog.=) 'retiring'";

pub(crate) const SET_DRAINED: &str = "
UPDATE inbox.partitions AS p SET drained = pg_catalog.array_append(p.drained, $3)
WHERE p.consumer OPERATOR(pg_catalog.=) $1 AND p.generation OPERATOR(pg_catalog.=) $2
  AND p.step OPERATOR(pg_catalog.=) ANY ('{draining,retiring}')
  AND NOT ($3 OPERATOR(pg_catalog.=) ANY (p.drained))";

pub(crate) const SET_UNDRAINED: &str = "
UPDATE inbox.partitions AS p SET drained = pg_catalog.array_remove(p.drained, $3)
WHERE p.consumer OPERATOR(pg_catalog.=) $1 AND p.generation OPERATOR(pg_catalog.=) $2
  AND p.step OPERATOR(pg_catalog.=) 'retiring'";

// Locks of two numbers have `objsubid` 2.
pub(crate) const LOCKS: &str = "
SELECT l.pid, l.objid::pg_catalog.int8 AS object, l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AS is_own
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) l.database
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted
  AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
  AND l.classid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND l.objsubid OPERATOR(pg_catalog.=) 2";

pub(crate) const LOCK_SHARED: &str = "SELECT pg_catalog.pg_try_advisory_lock_shared($1, $2)";

pub(crate) const LOCK: &str = "SELECT pg_catalog.pg_try_advisory_lock($1, $2)";

pub(crate) const UNLOCK: &str = "SELECT pg_catalog.pg_advisory_unlock($1, $2)";

pub(crate) const SETTING: &str = "SELECT pg_catalog.current_setting('idle_session_timeout')";

/// A row of `inbox.partitions`.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct LayoutRow {
    pub(crate) generation: i64,
    pub(crate) partitions: i16,
    pub(crate) previous: Option<i16>,
    pub(crate) step: String,
    pub(crate) drained: Vec<i16>,
    pub(crate) token: Option<Uuid>,
    /// Seconds since the step began.
    pub(crate) age: f64,
}

/// A lock of a process of the consumer.
#[derive(Debug, FromRow)]
pub(crate) struct LockRow {
    pub(crate) pid: i32,
    pub(crate) object: i64,
    /// `true` if this session holds the lock.
    pub(crate) is_own: bool,
}

/// Returns a consumer's row; `None` if there is none.
pub(crate) async fn layout(
    link: &mut Link<'_>,
    consumer: &str,
) -> Result<Option<LayoutRow>, sqlx::Error> {
    link.query_as(LAYOUT)
        .bind(consumer)
        .fetch_optional(link.connection())
        .await
}

/// Returns the locks of all processes of a consumer.
pub(crate) async fn locks(link: &mut Link<'_>, class: i32) -> Result<Vec<LockRow>, sqlx::Error> {
    link.query_as(LOCKS)
        .bind(Oid(class as u32))
        .fetch_all(link.connection())
        .await
}

/// Takes a lock that other sessions may hold too, until the session ends.
pub(crate) async fn lock_shared(
    link: &mut Link<'_>,
    (class, object): (i32, i32),
) -> Result<bool, sqlx::Error> {
    link.query_scalar(LOCK_SHARED)
        .bind(class)
        .bind(object)
        .fetch_one(link.connection())
        .await
}

/// Takes a lock until the session ends; returns `false` if another session holds the lock.
pub(crate) async fn lock(
    link: &mut Link<'_>,
    (class, object): (i32, i32),
) -> Result<bool, sqlx::Error> {
    link.query_scalar(LOCK)
        .bind(class)
        .bind(object)
        .fetch_one(link.connection())
        .await
}

/// Releases a lock of this session.
pub(crate) async fn unlock(
    link: &mut Link<'_>,
    (class, object): (i32, i32),
) -> Result<(), sqlx::Error> {
    link.query(UNLOCK)
        .bind(class)
        .bind(object)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Returns the value of `idle_session_timeout`.
pub(crate) async fn setting(link: &mut Link<'_>) -> Result<String, sqlx::Error> {
    link.query_scalar(SETTING)
        .fetch_one(link.connection())
        .await
}

/// Creates a consumer's row, unless there is one.
pub(crate) async fn create(
    link: &mut Link<'_>,
    consumer: &str,
    partitions: i16,
) -> Result<(), sqlx::Error> {
    link.query(CREATE)
        .bind(consumer)
        .bind(partitions)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Begins a change of the layout, unless another has begun.
pub(crate) async fn begin_change(
    link: &mut Link<'_>,
    (consumer, generation): (&str, i64),
    partitions: i16,
    token: Uuid,
) -> Result<u64, sqlx::Error> {
    let changed = link
        .query(BEGIN_CHANGE)
        .bind(consumer)
        .bind(generation)
        .bind(partitions)
        .bind(token)
        .execute(link.connection())
        .await?;
    Ok(changed.rows_affected())
}

/// Moves a change from one step to the next.
pub(crate) async fn advance(
    link: &mut Link<'_>,
    (consumer, generation): (&str, i64),
    from: &str,
    to: &str,
) -> Result<u64, sqlx::Error> {
    let changed = link
        .query(ADVANCE)
        .bind(consumer)
        .bind(generation)
        .bind(from)
        .bind(to)
        .execute(link.connection())
        .await?;
    Ok(changed.rows_affected())
}

/// Ends a change.
pub(crate) async fn finish(
    link: &mut Link<'_>,
    (consumer, generation): (&str, i64),
) -> Result<u64, sqlx::Error> {
    let changed = link
        .query(FINISH)
        .bind(consumer)
        .bind(generation)
        .execute(link.connection())
        .await?;
    Ok(changed.rows_affected())
}

/// Records that the queue of a partition of the previous layout is read to its end, or is to be read again.
pub(crate) async fn set_drained(
    link: &mut Link<'_>,
    (consumer, generation): (&str, i64),
    partition: i16,
    is_drained: bool,
) -> Result<u64, sqlx::Error> {
    let statement = if is_drained {
        SET_DRAINED
    } else {
        SET_UNDRAINED
    };
    let changed = link
        .query(statement)
        .bind(consumer)
        .bind(generation)
        .bind(partition)
        .execute(link.connection())
        .await?;
    Ok(changed.rows_affected())
}
