//! Statements around the migrations.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

// Read committed, so that after a wait for the lock the transaction sees what another migration has applied.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

// The migration files set the path too. The statements before them must not run functions of other roles either, as the
// user is often a superuser. The setting belongs to the transaction, so that a pooler cannot keep it in a session.
pub(crate) const SEARCH: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

// A statement that waits for a lock blocks the sessions behind it. For this transaction only, like the lock.
pub(crate) const LIMIT_LOCK_WAIT: &str = "SET LOCAL lock_timeout = '1min'";

// Lets one migration run at a time. The lock belongs to the transaction, so that a pooler cannot keep it in a session.
// A migration file's BEGIN does nothing within this transaction, and its COMMIT ends it. The class is that of leases,
// whose objects are lanes from 0 on.
pub(crate) const LOCK: &str = "SELECT pg_advisory_xact_lock(1886352244, -1)";

pub(crate) const EXISTS: &str = "SELECT to_regclass('outbox.migration') IS NOT NULL";

pub(crate) const VERSION: &str = "SELECT coalesce(max(version), 0) FROM outbox.migration";

/// Begins a transaction for one migration.
pub(crate) async fn begin(connection: &mut PgConnection) -> sqlx::Result<()> {
    for statement in [BEGIN, SEARCH, LIMIT_LOCK_WAIT] {
        connection.execute(statement).await?;
    }
    Ok(())
}

/// Waits until no other migration runs.
pub(crate) async fn lock(connection: &mut PgConnection) -> sqlx::Result<()> {
    connection.execute(LOCK).await.map(drop)
}

/// Runs a migration, which commits the transaction.
pub(crate) async fn apply(connection: &mut PgConnection, sql: &'static str) -> sqlx::Result<()> {
    connection.execute(AssertSqlSafe(sql)).await.map(drop)
}

/// Ends a transaction without a migration.
pub(crate) async fn rollback(connection: &mut PgConnection) -> sqlx::Result<()> {
    connection.execute("ROLLBACK").await.map(drop)
}

/// Returns the version of the last applied migration; 0 if none is applied.
pub(crate) async fn applied_version(connection: &mut PgConnection) -> sqlx::Result<i32> {
    let exists: bool = sqlx::query_scalar(EXISTS)
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(0);
    }
    sqlx::query_scalar(VERSION).fetch_one(connection).await
}
