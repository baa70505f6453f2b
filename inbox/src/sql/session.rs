//! Statements about sessions and transactions, on no table of the inbox.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use statement::Link;

use super::late_answer;

use crate::server_error;

/// Identity of the transaction in which a handler runs, and of its session.
#[derive(Debug, Clone)]
pub(crate) struct TxIdentity {
    /// The transaction's id.
    pub(crate) xid: String,
    /// Process id of the session at the server.
    pub(crate) pid: i32,
    /// Role that locked a parked message's row. The same role deletes the row, even if the handler has changed the
    /// session's role. `None` for a message from the queue.
    pub(crate) role: Option<String>,
}

// Reads the catalogue, because the functions that take a table's name fail if its schema may not be used.
pub(crate) const SERVER: &str = "
SELECT pg_catalog.current_setting('server_encoding') AS encoding,
       current_user::pg_catalog.text AS user,
       coalesce(pg_catalog.bool_and(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                                    AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
                                    AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
                                    AND pg_catalog.has_table_privilege(c.oid, 'DELETE')),
                false) AS may_work
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE n.nspname OPERATOR(pg_catalog.=) 'inbox'
  AND c.relname OPERATOR(pg_catalog.=) ANY ('{processed,processed_other,parked,idempotency_key}')";

pub(crate) const NOW: &str = "SELECT pg_catalog.clock_timestamp()";

pub(crate) const IS_DURABLE: &str =
    "SELECT pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.<>) 'off'";

pub(crate) const MAKE_DURABLE: &str = "SET LOCAL synchronous_commit = on";

pub(crate) const TAKE_ROLE: &str = "SELECT pg_catalog.set_config('role', $1, true)";

/// Checks deferred constraints at once.
pub(crate) const CHECK_CONSTRAINTS: &str = "SET CONSTRAINTS ALL IMMEDIATE";

pub(crate) const TRANSACTION: &str =
    "SELECT pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text";

/// Error of [`commit_and_begin`] if another transaction is open: the request then reads a setting of this name, which
/// does not exist, and fails with `undefined_object`. The SQLSTATE alone could come from a deferred trigger of the user.
const OTHER_TRANSACTION: (&str, &str) = ("42704", "postroom.another_transaction");

/// `read_only_sql_transaction`
const READ_ONLY: &str = "25006";

/// `insufficient_privilege`
const NO_RIGHT: &str = "42501";

// Ends the session only if a role was set: if the login itself lacks the right, another session would lack it too.
// RESET ROLE comes first, because the role that was set may not end sessions of the login.
pub(crate) const END_OTHER_ROLE: &str = "
ROLLBACK;
DO $$ BEGIN
    IF current_user OPERATOR(pg_catalog.<>) session_user THEN
        RESET ROLE;
        PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
    END IF;
END $$";

pub(crate) const IS_COMMITTED: &str =
    "SELECT pg_catalog.pg_xact_status($1::pg_catalog.xid8) OPERATOR(pg_catalog.=) 'committed'";

// The lock timeout, for this transaction alone, lets the janitor yield to every session that uses a leaf.
pub(crate) const LOCK_JANITOR: &str = "
SELECT pg_catalog.pg_try_advisory_xact_lock(
           pg_catalog.hashtextextended('postroom inbox janitor', 0))
       AND pg_catalog.set_config('lock_timeout', '50ms', true) IS NOT NULL";

// Only while the transaction is open: afterwards the session may run a statement of another user of the pool.
pub(crate) const TERMINATE: &str = "
SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid OPERATOR(pg_catalog.=) $1
  AND a.backend_xid OPERATOR(pg_catalog.=) $2::pg_catalog.xid8::pg_catalog.xid";

// Only another session of this user that records ids or keys can block a record. Such a session counts as dead if it has been
// idle for `$1` seconds. A waiting statement is cancelled if its blocker is not ended.
pub(crate) const END_STALE_BLOCKERS: &str = "
WITH since (at) AS (
    SELECT pg_catalog.clock_timestamp()
           OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 second')),
waiting AS MATERIALIZED (
    SELECT a.pid, pg_catalog.pg_blocking_pids(a.pid) AS behind
    FROM pg_catalog.pg_stat_activity AS a
    WHERE (a.datname, a.usename, a.wait_event_type)
              OPERATOR(pg_catalog.=) (pg_catalog.current_database(), session_user, 'Lock')
      AND a.query OPERATOR(pg_catalog.~~) ANY ('{%INTO inbox.processed%,%INTO inbox.idempotency_key%}')
      AND a.query_start OPERATOR(pg_catalog.<=) (SELECT s.at FROM since AS s)),
ended AS MATERIALIZED (
    SELECT b.pid, pg_catalog.pg_terminate_backend(b.pid) FROM pg_catalog.pg_stat_activity AS b
    WHERE b.pid OPERATOR(pg_catalog.=) ANY (SELECT pg_catalog.unnest(w.behind) FROM waiting AS w)
      AND (b.usename, b.state) OPERATOR(pg_catalog.=) (session_user, 'idle in transaction')
      AND b.state_change OPERATOR(pg_catalog.<=) (SELECT s.at FROM since AS s))
SELECT (SELECT pg_catalog.count(*) FROM ended),
       (SELECT pg_catalog.count(pg_catalog.pg_cancel_backend(w.pid)) FROM waiting AS w
        WHERE NOT EXISTS (SELECT FROM ended AS e WHERE e.pid OPERATOR(pg_catalog.=) ANY (w.behind)))";

/// Properties of a session's server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) encoding: String,
    pub(crate) user: String,
    /// `true` if the user has the privileges that a consumer needs.
    pub(crate) has_privileges: bool,
}

/// Returns the properties of a session's server.
pub(crate) async fn server(connection: &mut PgConnection) -> Result<Server, sqlx::Error> {
    // A simple query: the only kind that every pooler accepts outside of a transaction.
    let row = sqlx::raw_sql(SERVER).fetch_one(connection).await?;
    Ok(Server {
        encoding: row.try_get(0)?,
        user: row.try_get(1)?,
        has_privileges: row.try_get(2)?,
    })
}

/// Returns the database's time.
pub(crate) async fn now(link: &mut Link<'_>) -> Result<DateTime<Utc>, sqlx::Error> {
    link.query_scalar(NOW).fetch_one(link.connection()).await
}

/// Returns `true` if a commit of the transaction waits until it is on disk.
pub(crate) async fn is_durable(link: &mut Link<'_>) -> Result<bool, sqlx::Error> {
    link.query_scalar(IS_DURABLE)
        .fetch_one(link.connection())
        .await
}

/// Makes the transaction's commit durable.
pub(crate) async fn make_durable(link: &mut Link<'_>) -> Result<(), sqlx::Error> {
    link.query(MAKE_DURABLE).execute(link.connection()).await?;
    Ok(())
}

/// Sets the role for the rest of the transaction, because a handler may have changed it.
pub(crate) async fn take_role(link: &mut Link<'_>, role: &str) -> Result<(), sqlx::Error> {
    link.query(TAKE_ROLE)
        .bind(role)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Returns the id of the open transaction, `None` if it has none; fails if the transaction is aborted.
pub(crate) async fn open_transaction(link: &mut Link<'_>) -> Result<Option<String>, sqlx::Error> {
    // A simple query, safe behind a pooler even if a handler has ended the transaction.
    let row = sqlx::raw_sql(TRANSACTION).fetch_one(link.connection());
    row.await?.try_get(0)
}

/// Checks the deferred constraints of the open transaction, as its commit would.
pub(crate) async fn check_deferred_constraints(link: &mut Link<'_>) -> Result<(), sqlx::Error> {
    let checking = sqlx::raw_sql(CHECK_CONSTRAINTS).execute(link.connection());
    checking.await.map(drop)
}

/// Commits the transaction with this id and begins another one, in one request.
///
/// Fails and commits nothing if the transaction is aborted, or if another one is open (see
/// [`is_other_transaction_open`]). Also fails if the session answers an earlier request (see [`late_answer`]); then it is
/// unknown whether the transaction has committed.
pub(crate) async fn commit_and_begin(link: &mut Link<'_>, xid: &str) -> Result<(), sqlx::Error> {
    let request = sqlx::raw_sql(AssertSqlSafe(commit_text(xid))).fetch_all(link.connection());
    match &request.await?[..] {
        [row] if row.try_get::<&str, _>(0).is_ok_and(|answer| answer == xid) => Ok(()),
        _ => Err(late_answer::error()),
    }
}

/// Returns the text of the request of [`commit_and_begin`]. The first statement that fails ends the request. A request
/// of several statements cannot have parameters; the id comes from the server, so it needs no escaping.
pub(crate) fn commit_text(xid: &str) -> String {
    format!(
        "SELECT CASE WHEN pg_catalog.pg_current_xact_id_if_assigned()
                          OPERATOR(pg_catalog.=) '{xid}'::pg_catalog.xid8
                     THEN '{xid}' ELSE pg_catalog.current_setting('{ended}') END;
         COMMIT;
         BEGIN",
        ended = OTHER_TRANSACTION.1
    )
}

/// Checks, after a handler's error, if the handler has ended the transaction with this id. Another attempt must not
/// follow the handler's own `COMMIT`: the message's record is committed too, and the attempt would find a duplicate.
///
/// Returns `true` if this transaction is not the open one. If the open transaction is aborted, its id cannot be read:
/// the function rolls the transaction back, begins another one, and returns `true` only if the transaction with this
/// id was committed.
///
/// # Errors
/// Fails if the session is gone or answers an earlier request (see [`late_answer`]).
pub(crate) async fn ended_by_handler(link: &mut Link<'_>, xid: &str) -> Result<bool, sqlx::Error> {
    match open_transaction(link).await {
        Ok(open) => {
            late_answer::check(link, xid).await?;
            Ok(open.as_deref() != Some(xid))
        }
        Err(error) if server_error::is_lost(&error) => Err(error),
        // A statement failed, in this transaction or in a later one that the handler has begun.
        Err(_) => {
            sqlx::raw_sql("ROLLBACK; BEGIN")
                .execute(link.connection())
                .await?;
            late_answer::check(link, xid).await?;
            is_committed(link, xid).await
        }
    }
}

/// Returns `true` if the transaction with this id has been committed.
pub(crate) async fn is_committed(link: &mut Link<'_>, xid: &str) -> Result<bool, sqlx::Error> {
    let committed: Option<bool> = link
        .query_scalar(IS_COMMITTED)
        .bind(xid)
        .fetch_one(link.connection())
        .await?;
    Ok(committed == Some(true))
}

/// Returns `true` if [`commit_and_begin`] failed because another transaction is open.
pub(crate) fn is_other_transaction_open(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    error.code().as_deref() == Some(OTHER_TRANSACTION.0)
        && error.message().contains(OTHER_TRANSACTION.1)
}

/// Ends sessions that have been idle in a transaction for `age` and have blocked statements that record ids or keys for
/// as long: their processes are frozen or cut off from the network, and the server would keep the sessions for hours.
/// Cancels the blocked statements whose blockers it does not end: their clients have stopped waiting.
///
/// Returns the numbers of ended sessions and of cancelled statements.
pub(crate) async fn end_stale_blockers(
    link: &mut Link<'_>,
    age: Duration,
) -> Result<(i64, i64), sqlx::Error> {
    link.query_as(END_STALE_BLOCKERS)
        .bind(age.as_secs_f64())
        .fetch_one(link.connection())
        .await
}

/// Ends a session of this user, if the transaction is still open on it.
pub(crate) async fn terminate(link: &mut Link<'_>, pid: i32, xid: &str) -> Result<(), sqlx::Error> {
    link.query(TERMINATE)
        .bind(pid)
        .bind(xid)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Ends the session if an error shows that it is unusable, because the pool would hand it out again and again: the
/// server has become a standby, a handler has left another role in the session, or the session answers earlier
/// requests (see [`late_answer`]). The open transaction ends too.
///
/// If the session is ended, the function returns an error, because the server then sends no answer. Callers ignore the
/// result.
pub(crate) async fn end_unusable(
    link: &mut Link<'_>,
    error: &sqlx::Error,
) -> Result<(), sqlx::Error> {
    let end = match server_error::state(error).as_deref() {
        Some(READ_ONLY) => late_answer::END,
        Some(NO_RIGHT) => END_OTHER_ROLE,
        None if late_answer::is_late(error) => late_answer::END,
        _ => return Ok(()),
    };
    sqlx::raw_sql(end).execute(link.connection()).await?;
    Ok(())
}

/// Takes the lock that one janitor per database holds at a time, until the transaction ends, and limits the
/// transaction's waits for other locks to 50 ms. Returns `false` if another janitor holds the lock.
pub(crate) async fn lock_janitor(link: &mut Link<'_>) -> Result<bool, sqlx::Error> {
    link.query_scalar(LOCK_JANITOR)
        .fetch_one(link.connection())
        .await
}
