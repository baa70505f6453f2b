//! Statements on the advisory lock that is the lease.

use sqlx::PgConnection;

/// Class of the advisory locks that serve as leases; the object is the lane.
pub(crate) const LOCK_CLASS: i32 = 0x706f_7374;

pub(crate) const TRY_LOCK: &str = "SELECT pg_try_advisory_lock($1, $2)";

pub(crate) const HOLDS_LOCK: &str = "
SELECT NOT pg_is_in_recovery() AND EXISTS (
    SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
      AND l.classid = $1::integer::oid AND l.objid = $2::integer::oid AND l.objsubid = 2
      AND l.pid = $3)";

pub(crate) async fn try_lock(connection: &mut PgConnection, lane: i16) -> sqlx::Result<bool> {
    sqlx::query_scalar(TRY_LOCK)
        .bind(LOCK_CLASS)
        .bind(i32::from(lane))
        .fetch_one(connection)
        .await
}

/// Returns `true` if this connection leads to a primary on which the backend `pid` holds the lane's lease.
pub(crate) async fn holds_lock(
    connection: &mut PgConnection,
    lane: i16,
    pid: i32,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(HOLDS_LOCK)
        .bind(LOCK_CLASS)
        .bind(i32::from(lane))
        .bind(pid)
        .fetch_one(connection)
        .await
}
