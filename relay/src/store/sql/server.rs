//! Statements about the server and its sessions: identity, snapshots, the log and settings.

use chrono::{DateTime, Utc};
use relay_core::{
    capture::{InvalidSnapshot, Position, Snapshot},
    identity::Identity,
};
use sqlx::{FromRow, PgConnection, Row as _, postgres::PgRow};

pub(crate) const IDENTITY: &str = "
SELECT s.system_identifier, d.oid::bigint,
       ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer
FROM pg_control_system() AS s, pg_database AS d
WHERE d.datname = current_database()";

// The statement takes its snapshot before it reads the sequence, so every row that the snapshot sees lies at or below
// the position.
//
// The sequence must not be read as a table: one `nextval` in 33 writes a value 32 higher into the tuple, to log it,
// and then the value that it returns (PostgreSQL's `nextval_internal`). A reader of the table can see the higher
// value, which was not handed out, and a floor made from it would hide rows. `pg_sequence_last_value` waits for the
// lock that `nextval` holds. It returns NULL for a sequence that was not used since it was created or restarted; then
// the first value is read from the table.
macro_rules! look_statement {
    () => {
        "
SELECT pg_current_snapshot()::text,
       (pg_current_wal_insert_lsn() - '0/0')::bigint,
       (pg_current_wal_flush_lsn() - '0/0')::bigint,
       coalesce(pg_sequence_last_value('outbox.message_position'), s.last_value - 1),
       current_setting('synchronous_standby_names') <> ''
FROM outbox.message_position AS s"
    };
}
pub(crate) use look_statement;

pub(crate) const LOOK: &str = look_statement!();

pub(crate) const SNAPSHOT: &str = "SELECT pg_current_snapshot()::text";

pub(crate) const FLUSHED: &str = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint";

pub(crate) const NOW: &str = "SELECT clock_timestamp()";

/// Gives a session for the lease the lock timeout of the sessions of commands.
pub(crate) const LIMIT_LOCK_WAIT: &str = "SET lock_timeout = '10s'";

pub(crate) const IN_RECOVERY: &str = "SELECT pg_is_in_recovery()";

pub(crate) const NAME_SESSION: &str = "SELECT set_config('application_name', $1, false)";

pub(crate) const BACKEND_PID: &str = "SELECT pg_backend_pid()";

// Checks the start-up options, which a pooler may be configured to ignore. The search_path is one of them: this is the
// only statement that runs before it is checked, so every name in it is qualified.
pub(crate) const IN_FORCE: &str = "
SELECT pg_catalog.current_setting('plan_cache_mode') AS plans, s.setting AS silence,
       pg_catalog.current_setting('server_encoding') AS encoding,
       pg_catalog.current_setting('client_min_messages') AS messages,
       pg_catalog.current_setting('default_transaction_read_only') AS reads_only,
       pg_catalog.current_setting('search_path') AS search_path
FROM pg_catalog.pg_settings AS s WHERE s.name OPERATOR(pg_catalog.=) 'idle_session_timeout'";

pub(crate) const ASSIGN_XID: &str = "SELECT pg_current_xact_id()::text";

// Only transactions with an id, that is, which write: the relay never waits for those that only read.
pub(crate) const OPEN_BEFORE: &str = "
SELECT DISTINCT CASE WHEN p.gid IS NULL THEN 'process ' || l.pid ELSE 'prepared ' || quote_literal(p.gid) END
                || ' in database ' || coalesce(p.database, a.datname)
FROM pg_locks AS l
LEFT JOIN pg_prepared_xacts AS p ON p.transaction = l.transactionid
LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
  AND age(l.transactionid) > age($1::text::xid8::xid) AND coalesce(p.database, a.datname) IS NOT NULL
ORDER BY 1";

// Subscriptions of this database. Reads pg_subscription_rel, because pg_subscription is not readable by all users.
pub(crate) const SUBSCRIBED: &str = "
SELECT DISTINCT quote_ident(s.subname)
FROM pg_subscription_rel AS r
JOIN pg_stat_subscription AS s ON s.subid = r.srsubid
JOIN pg_class AS c ON c.oid = r.srrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'outbox' AND c.relname ~ '^message(_[0-9]+)?$'
ORDER BY 1";

/// Result of one look at the server: a snapshot, and the state of log and sequence at that time.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) snapshot: Snapshot,
    /// End of the write-ahead log when the snapshot was taken, in bytes.
    pub(crate) inserted: i64,
    /// End of the flushed part of the log, in bytes.
    pub(crate) flushed: i64,
    /// Highest position handed out.
    pub(crate) upper: Position,
    /// `true` if commits wait for synchronous standbys.
    pub(crate) synchronous_standbys: bool,
}

impl Look {
    /// Reads the five columns of [`LOOK`], starting at column `first`.
    pub(crate) fn read(row: &PgRow, first: usize) -> sqlx::Result<Self> {
        Ok(Self {
            snapshot: read_snapshot(row, first)?,
            inserted: row.try_get(first + 1)?,
            flushed: row.try_get(first + 2)?,
            upper: row.try_get(first + 3)?,
            synchronous_standbys: row.try_get(first + 4)?,
        })
    }
}

/// Reads a snapshot as text.
pub(crate) fn read_snapshot(row: &PgRow, column: usize) -> sqlx::Result<Snapshot> {
    let snapshot = row.try_get::<&str, _>(column)?.parse();
    snapshot.map_err(|invalid: InvalidSnapshot| sqlx::Error::Decode(Box::new(invalid)))
}

/// Returns the subscriptions that copy rows of the outbox from another server.
pub(crate) async fn subscribed(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(SUBSCRIBED).fetch_all(connection).await
}

/// Returns a snapshot. For users who may not read the sequence, as [`LOOK`] does.
pub(crate) async fn snapshot(connection: &mut PgConnection) -> sqlx::Result<Snapshot> {
    let row = sqlx::query(SNAPSHOT).fetch_one(connection).await?;
    read_snapshot(&row, 0)
}

pub(crate) async fn look(connection: &mut PgConnection) -> sqlx::Result<Look> {
    let row = sqlx::query(LOOK).fetch_one(connection).await?;
    Look::read(&row, 0)
}

pub(crate) async fn flushed(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar(FLUSHED).fetch_one(connection).await
}

pub(crate) async fn identity(connection: &mut PgConnection) -> sqlx::Result<Identity> {
    let (system_identifier, database_oid, timeline) =
        sqlx::query_as(IDENTITY).fetch_one(connection).await?;
    Ok(Identity {
        system_identifier,
        database_oid,
        timeline,
    })
}

/// Settings of a session, as the server reports them.
#[derive(Debug, FromRow)]
pub(crate) struct InForce {
    /// `plan_cache_mode`.
    pub(crate) plans: String,
    /// `idle_session_timeout`, in milliseconds.
    pub(crate) silence: String,
    /// Encoding of the database's texts.
    pub(crate) encoding: String,
    /// `client_min_messages`.
    pub(crate) messages: String,
    /// `default_transaction_read_only`.
    pub(crate) reads_only: String,
    /// `search_path`.
    pub(crate) search_path: String,
}

/// Returns the settings of this session.
pub(crate) async fn in_force(connection: &mut PgConnection) -> sqlx::Result<InForce> {
    // A simple query: behind a pooler, a prepared statement or one in two requests could fail before the settings
    // show the pooler.
    InForce::from_row(&sqlx::raw_sql(IN_FORCE).fetch_one(connection).await?)
}

pub(crate) async fn in_recovery(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(IN_RECOVERY).fetch_one(connection).await
}

/// Returns the time by the database's clock.
pub(crate) async fn now(connection: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar(NOW).fetch_one(connection).await
}

/// Limits the waits for locks of a session that may hold the lease, as those of other commands are.
pub(crate) async fn limit_lock_wait(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(LIMIT_LOCK_WAIT)
        .execute(connection)
        .await
        .map(drop)
}

/// Assigns and returns a transaction id. The transaction writes nothing, so its commit waits for nothing.
pub(crate) async fn assign_xid(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let xid: String = sqlx::query_scalar(ASSIGN_XID).fetch_one(connection).await?;
    read_xid(&xid)
}

/// Reads a transaction id of 64 bits, for which sqlx has no type.
pub(crate) fn read_xid(xid: &str) -> sqlx::Result<u64> {
    xid.parse()
        .map_err(|invalid| sqlx::Error::Decode(Box::new(invalid)))
}

/// Renames this session in the list of sessions.
pub(crate) async fn name_session(connection: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let named = sqlx::query(NAME_SESSION).bind(name);
    named.execute(connection).await.map(drop)
}

pub(crate) async fn backend_pid(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar(BACKEND_PID).fetch_one(connection).await
}

/// Returns a description of each open transaction that began to write before the transaction `xid`.
pub(crate) async fn open_before(
    connection: &mut PgConnection,
    xid: u64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(OPEN_BEFORE)
        .bind(xid.to_string())
        .fetch_all(connection)
        .await
}
