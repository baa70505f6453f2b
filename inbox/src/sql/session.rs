//! Statements on no table of the inbox.

use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox::link::Link;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::step;

use crate::server_error;

/// The transaction in which a handler runs, and its session.
#[derive(Debug, Clone)]
pub(crate) struct TxIdentity {
    /// The transaction's id.
    pub(crate) xid: String,
    /// Process id of the session at the server.
    pub(crate) pid: i32,
    /// Role that locked a parked message's row, and that deletes the row although the handler may have
    /// changed the role; `None` for a message from the queue.
    pub(crate) role: Option<String>,
}

// Asked of the catalogue: the functions that take a table's name fail where its schema may not be used.
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
  AND c.relname OPERATOR(pg_catalog.=) ANY ('{processed,processed_other,parked}')";

pub(crate) const NOW: &str = "SELECT pg_catalog.clock_timestamp()";

pub(crate) const IS_DURABLE: &str =
    "SELECT pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.<>) 'off'";

pub(crate) const MAKE_DURABLE: &str = "SET LOCAL synchronous_commit = on";

pub(crate) const TAKE_ROLE: &str = "SELECT pg_catalog.set_config('role', $1, true)";

pub(crate) const TRANSACTION: &str =
    "SELECT pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text";

/// What [`commit_and_begin`] fails with if the transaction is another: `undefined_object`, a setting of
/// this name. A state alone could be that of a user's deferred trigger.
const ENDED: (&str, &str) = ("42704", "postroom.another_transaction");

/// `read_only_sql_transaction`
const READ_ONLY: &str = "25006";

/// `insufficient_privilege`
const NO_RIGHT: &str = "42501";

// Where the login itself lacks the right, another session would too. A role may not end its login's sessions.
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

pub(crate) const CANCEL: &str = "SELECT pg_catalog.pg_cancel_backend($1)";

// Only while the transaction is open: afterwards the session may run somebody else's statement.
pub(crate) const CANCEL_WITHIN: &str = "
SELECT pg_catalog.pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid OPERATOR(pg_catalog.=) $1
  AND a.backend_xid OPERATOR(pg_catalog.=) $2::pg_catalog.xid8::pg_catalog.xid";

// Gives way to everybody who holds the leaf, within the transaction alone.
pub(crate) const LOCK_JANITOR: &str = "
SELECT pg_catalog.pg_try_advisory_xact_lock(
           pg_catalog.hashtextextended('postroom inbox janitor', 0))
       AND pg_catalog.set_config('lock_timeout', '50ms', true) IS NOT NULL";

// As above.
pub(crate) const TERMINATE: &str = "
SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid OPERATOR(pg_catalog.=) $1
  AND a.backend_xid OPERATOR(pg_catalog.=) $2::pg_catalog.xid8::pg_catalog.xid";

// Who holds a record is a transaction of this user's that records too: whether its process lives is told by
// how long it has been idle. A waiting statement is ended if what it waits for is not.
pub(crate) const RELIEVE: &str = "
WITH since (at) AS (
    SELECT pg_catalog.clock_timestamp()
           OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 second')),
waiting AS MATERIALIZED (
    SELECT a.pid, pg_catalog.pg_blocking_pids(a.pid) AS behind
    FROM pg_catalog.pg_stat_activity AS a
    WHERE (a.datname, a.usename, a.wait_event_type)
              OPERATOR(pg_catalog.=) (pg_catalog.current_database(), session_user, 'Lock')
      AND a.query OPERATOR(pg_catalog.~~) '%INTO inbox.processed%'
      AND a.query_start OPERATOR(pg_catalog.<=) (SELECT s.at FROM since AS s)),
ended AS MATERIALIZED (
    SELECT b.pid, pg_catalog.pg_terminate_backend(b.pid) FROM pg_catalog.pg_stat_activity AS b
    WHERE b.pid OPERATOR(pg_catalog.=) ANY (SELECT pg_catalog.unnest(w.behind) FROM waiting AS w)
      AND (b.usename, b.state) OPERATOR(pg_catalog.=) (session_user, 'idle in transaction')
      AND b.state_change OPERATOR(pg_catalog.<=) (SELECT s.at FROM since AS s))
SELECT (SELECT pg_catalog.count(*) FROM ended),
       (SELECT pg_catalog.count(pg_catalog.pg_cancel_backend(w.pid)) FROM waiting AS w
        WHERE NOT EXISTS (SELECT FROM ended AS e WHERE e.pid OPERATOR(pg_catalog.=) ANY (w.behind)))";

/// What a session says of its server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) encoding: String,
    pub(crate) user: String,
    /// Whether the user may do what a consumer does.
    pub(crate) may_work: bool,
}

/// Asks what a session's server is like.
pub(crate) async fn server(connection: &mut PgConnection) -> Result<Server, sqlx::Error> {
    // A simple request: the one kind that every pooler passes on outside of a transaction.
    let row = sqlx::raw_sql(SERVER).fetch_one(connection).await?;
    Ok(Server {
        encoding: row.try_get(0)?,
        user: row.try_get(1)?,
        may_work: row.try_get(2)?,
    })
}

/// Returns the database's time.
pub(crate) async fn now(link: &mut Link<'_>) -> Result<DateTime<Utc>, sqlx::Error> {
    link.query_scalar(NOW).fetch_one(link.connection()).await
}

/// Whether the transaction's commit is on disk when it returns.
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

/// Takes a role for the rest of the transaction: a handler may have taken another.
pub(crate) async fn take_role(link: &mut Link<'_>, role: &str) -> Result<(), sqlx::Error> {
    link.query(TAKE_ROLE)
        .bind(role)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Returns the id of the open transaction; fails if the transaction is aborted.
pub(crate) async fn transaction(link: &mut Link<'_>) -> Result<Option<String>, sqlx::Error> {
    // A simple request, safe behind a pooler even if a handler has ended the transaction.
    let row = sqlx::raw_sql(TRANSACTION).fetch_one(link.connection());
    row.await?.try_get(0)
}

/// Commits the transaction with this id and begins another, in one request. Fails, and commits
/// nothing, if the transaction is aborted, or is another one: see [`is_ended`]. Fails, too, if what is answered
/// is something else, as [`step`] says; whether it has committed is not known then.
pub(crate) async fn commit_and_begin(link: &mut Link<'_>, xid: &str) -> Result<(), sqlx::Error> {
    let request = sqlx::raw_sql(AssertSqlSafe(commit_text(xid))).fetch_all(link.connection());
    match &request.await?[..] {
        [row] if row.try_get::<&str, _>(0).is_ok_and(|answer| answer == xid) => Ok(()),
        _ => Err(step::lost()),
    }
}

/// Text of the request that commits the transaction with this id and begins another one. A failed statement ends
/// it. Several statements cannot have parameters; the id is the server's own.
pub(crate) fn commit_text(xid: &str) -> String {
    format!(
        "SELECT CASE WHEN pg_catalog.pg_current_xact_id_if_assigned()
                          OPERATOR(pg_catalog.=) '{xid}'::pg_catalog.xid8
                     THEN '{xid}' ELSE pg_catalog.current_setting('{ended}') END;
         COMMIT;
         BEGIN",
        ended = ENDED.1
    )
}

/// Rolls back and begins another transaction, in one request, whatever state the session is in.
pub(crate) async fn roll_back_and_begin(link: &mut Link<'_>) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("ROLLBACK; BEGIN")
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Whether the transaction with this id has been committed.
pub(crate) async fn is_committed(link: &mut Link<'_>, xid: &str) -> Result<bool, sqlx::Error> {
    let committed: Option<bool> = link
        .query_scalar(IS_COMMITTED)
        .bind(xid)
        .fetch_one(link.connection())
        .await?;
    Ok(committed == Some(true))
}

/// Whether [`commit_and_begin`] failed because the transaction is another one.
pub(crate) fn is_ended(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    error.code().as_deref() == Some(ENDED.0) && error.message().contains(ENDED.1)
}

/// Ends the statement that a session of this user is running, if it runs one. For a session that nobody else can
/// be given meanwhile.
pub(crate) async fn cancel(link: &mut Link<'_>, pid: i32) -> Result<(), sqlx::Error> {
    link.query(CANCEL)
        .bind(pid)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// As [`cancel`], if the transaction is still open on the session, which may be somebody else's by now.
pub(crate) async fn cancel_within(
    link: &mut Link<'_>,
    pid: i32,
    xid: &str,
) -> Result<(), sqlx::Error> {
    link.query(CANCEL_WITHIN)
        .bind(pid)
        .bind(xid)
        .execute(link.connection())
        .await?;
    Ok(())
}

/// Ends the sessions that have been idle in a transaction for `age`, and hold up statements that record ids
/// for as long: their processes are frozen or cut off, and nothing else would end them for hours. Ends those
/// statements where that is not so: whoever waited for one has given up.
///
/// Returns how many sessions it ended, and how many statements.
pub(crate) async fn relieve(link: &mut Link<'_>, age: Duration) -> Result<(i64, i64), sqlx::Error> {
    link.query_as(RELIEVE)
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

/// Ends the session if an error says that it is good for nothing any more, as the pool would hand it out again and
/// again: its server takes no writes, for it has become a standby, a handler has left another role in the
/// session, or it is out of [`step`]. The transaction ends with it.
///
/// Fails if it does: nobody is left to answer.
pub(crate) async fn end_unfit(link: &mut Link<'_>, error: &sqlx::Error) -> Result<(), sqlx::Error> {
    let end = match server_error::state(error).as_deref() {
        Some(READ_ONLY) => step::END,
        Some(NO_RIGHT) => END_OTHER_ROLE,
        None if step::is_lost(error) => step::END,
        _ => return Ok(()),
    };
    sqlx::raw_sql(end).execute(link.connection()).await?;
    Ok(())
}

/// Takes the lock that one janitor of a database has at a time, until the transaction ends, and
/// lets the transaction wait at most 50 ms for other locks. Returns false if another has it.
pub(crate) async fn lock_janitor(link: &mut Link<'_>) -> Result<bool, sqlx::Error> {
    link.query_scalar(LOCK_JANITOR)
        .fetch_one(link.connection())
        .await
}
