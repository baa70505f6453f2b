//! Statements on the advisory lock that is the lease, and about its holder.

use chrono::{DateTime, Utc};
use serde::Serialize;
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

// PostgreSQL shows a session's name to all users, and its address and start time only to the session's user.
pub(crate) const LEASE_HOLDER: &str = "
SELECT a.application_name, host(a.client_addr), a.backend_start
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) JOIN pg_database AS d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1::integer::oid
  AND l.objid = $2::integer::oid AND l.objsubid = 2 AND d.datname = current_database()";

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

/// Suffix of the name of the lease's session while another connection holds the fence at the broker.
pub(crate) const FENCED: &str = " fenced";

/// A relay's session that holds a lease.
#[derive(Debug, Serialize)]
pub(crate) struct LeaseHolder {
    /// Name of the session: lane, host and process.
    pub(crate) name: String,
    pub(crate) address: Option<String>,
    /// Start of the session; visible to the relay's own user and to members of `pg_read_all_stats`.
    pub(crate) since: Option<DateTime<Utc>>,
    /// `true` while another connection holds the fence at the broker.
    pub(crate) fenced: bool,
}

/// Returns the session that holds the lane's lease.
pub(crate) async fn lease_holder(
    connection: &mut PgConnection,
    lane: i16,
) -> sqlx::Result<Option<LeaseHolder>> {
    let holder: Option<(String, _, _)> = sqlx::query_as(LEASE_HOLDER)
        .bind(LOCK_CLASS)
        .bind(i32::from(lane))
        .fetch_optional(connection)
        .await?;
    Ok(holder.map(|(session, address, since)| {
        let name = session.strip_suffix(FENCED);
        LeaseHolder {
            fenced: name.is_some(),
            name: name.unwrap_or(&session).to_owned(),
            address,
            since,
        }
    }))
}
