//! Statements about the server and its sessions: identity, snapshots, the log, the lease's lock and settings.

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    capture::{InvalidSnapshot, Position, Snapshot},
    identity::Identity,
};

/// Class of the advisory locks that serve as leases; the object is the lane.
pub(crate) const LOCK_CLASS: i32 = 0x706f_7374;

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

pub(crate) const TRY_LOCK: &str = "SELECT pg_try_advisory_lock($1, $2)";

pub(crate) const HOLDS_LOCK: &str = "
SELECT NOT pg_is_in_recovery() AND EXISTS (
    SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
      AND l.classid = $1::integer::oid AND l.objid = $2::integer::oid AND l.objsubid = 2
      AND l.pid = $3)";

pub(crate) const IN_RECOVERY: &str = "SELECT pg_is_in_recovery()";

pub(crate) const NAME_SESSION: &str = "SELECT set_config('application_name', $1, false)";

pub(crate) const BACKEND_PID: &str = "SELECT pg_backend_pid()";

// Checks the start-up options, which a pooler may be configured to ignore. The search_path is one of them: this is the
// only statement that runs before it is checked, so every name in it is qualified.
pub(crate) const IN_FORCE: &str = "
SELECT pg_catalog.current_setting('plan_cache_mode'), s.setting,
       pg_catalog.current_setting('server_encoding'),
       pg_catalog.current_setting('client_min_messages'),
       pg_catalog.current_setting('default_transaction_read_only'),
       pg_catalog.current_setting('search_path')
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
    pub(crate) fn read(row: &PgRow, first: usize) -> Result<Self, sqlx::Error> {
        Ok(Self {
            snapshot: read_snapshot(row, first)?,
            inserted: row.try_get(first + 1)?,
            flushed: row.try_get(first + 2)?,
            upper: row.try_get(first + 3)?,
            synchronous_standbys: row.try_get(first + 4)?,
        })
    }
}

fn read_snapshot(row: &PgRow, column: usize) -> Result<Snapshot, sqlx::Error> {
    let snapshot = row.try_get::<&str, _>(column)?.parse();
    snapshot.map_err(|invalid: InvalidSnapshot| sqlx::Error::Decode(Box::new(invalid)))
}

/// Returns the subscriptions that copy rows of the outbox from another server.
pub(crate) async fn subscribed(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(SUBSCRIBED).fetch_all(connection).await
}

/// Returns a snapshot. For users who may not read the sequence, as [`LOOK`] does.
pub(crate) async fn snapshot(connection: &mut PgConnection) -> Result<Snapshot, sqlx::Error> {
    let row = sqlx::query(SNAPSHOT).fetch_one(connection).await?;
    read_snapshot(&row, 0)
}

pub(crate) async fn look(connection: &mut PgConnection) -> Result<Look, sqlx::Error> {
    let row = sqlx::query(LOOK).fetch_one(connection).await?;
    Look::read(&row, 0)
}

pub(crate) async fn flushed(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(FLUSHED).fetch_one(connection).await
}

pub(crate) async fn identity(connection: &mut PgConnection) -> Result<Identity, sqlx::Error> {
    let (system_identifier, database_oid, timeline) =
        sqlx::query_as(IDENTITY).fetch_one(connection).await?;
    Ok(Identity {
        system_identifier,
        database_oid,
        timeline,
    })
}

/// Settings of a session, as the server reports them.
#[derive(Debug)]
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
    pub(crate) reads_only: bool,
    /// `search_path`.
    pub(crate) search_path: String,
}

/// Returns the settings of this session.
pub(crate) async fn in_force(connection: &mut PgConnection) -> Result<InForce, sqlx::Error> {
    // A simple query: behind a pooler, a prepared statement or one in two requests could fail before the settings
    // show the pooler.
    let row = sqlx::raw_sql(IN_FORCE).fetch_one(connection).await?;
    Ok(InForce {
        plans: row.try_get(0)?,
        silence: row.try_get(1)?,
        encoding: row.try_get(2)?,
        messages: row.try_get(3)?,
        reads_only: row.try_get::<&str, _>(4)? == "on",
        search_path: row.try_get(5)?,
    })
}

pub(crate) async fn in_recovery(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(IN_RECOVERY).fetch_one(connection).await
}

/// Assigns and returns a transaction id. The transaction writes nothing, so its commit waits for nothing.
pub(crate) async fn assign_xid(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(ASSIGN_XID).fetch_one(connection).await
}

pub(crate) async fn try_lock(
    connection: &mut PgConnection,
    lane: i16,
) -> Result<bool, sqlx::Error> {
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
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(HOLDS_LOCK)
        .bind(LOCK_CLASS)
        .bind(i32::from(lane))
        .bind(pid)
        .fetch_one(connection)
        .await
}

/// Renames this session in the list of sessions.
pub(crate) async fn name_session(
    connection: &mut PgConnection,
    name: &str,
) -> Result<(), sqlx::Error> {
    let named = sqlx::query(NAME_SESSION).bind(name);
    named.execute(connection).await.map(drop)
}

pub(crate) async fn backend_pid(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar(BACKEND_PID).fetch_one(connection).await
}

/// Returns a description of each open transaction that began to write before the transaction `xid`.
pub(crate) async fn open_before(
    connection: &mut PgConnection,
    xid: u64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(OPEN_BEFORE)
        .bind(xid.to_string())
        .fetch_all(connection)
        .await
}
