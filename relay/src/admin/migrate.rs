//! Migrations of the schema and, on request, its roles.

use std::time::Duration;

use migrations::{Migration, ROLES};
use serde::Serialize;
use sqlx::PgConnection;
use tokio::time::timeout;

use crate::{
    config::Config,
    store::{self, DatabaseError, migration},
};

/// Longest wait for a statement that may wait for locks, for which the server allows one minute.
const LOCKING: Duration = Duration::from_secs(75);

/// Longest wait for one migration, whose tables may be large.
const APPLYING: Duration = Duration::from_hours(1);

/// Error of a migration. The migrations before it stay applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    /// The database is unusable.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Another migration runs, or a session has locked what this one needs.
    #[error(
        "waiting for another migration or its locks; find who holds them in pg_stat_activity and run this again: what is applied stays"
    )]
    Locked(#[source] DatabaseError),
    /// The migration failed.
    #[error("applying {name} as the schema's owner")]
    Apply {
        /// Name of the migration.
        name: &'static str,
        /// The server's error.
        source: DatabaseError,
    },
    /// The roles could not be created.
    #[error(
        "creating roles; a user with CREATEROLE can, or apply the GRANTs of migrations/roles.sql to roles of your own"
    )]
    Roles(#[source] DatabaseError),
}

/// A migration that is applied.
#[derive(Debug, Serialize)]
pub(crate) struct Applied {
    pub(crate) name: &'static str,
    /// `true` if it was applied now, `false` if it was applied before.
    pub(crate) now: bool,
}

/// Connects as the schema's owner, over a pooler too.
pub(crate) async fn connect(config: &Config) -> Result<PgConnection, DatabaseError> {
    store::open(config, |options| options).await
}

/// Applies a migration, unless it is applied.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    migration: &'static Migration,
) -> Result<Applied, MigrateError> {
    let name = migration.name;
    lock(connection).await?;
    let applied = answered(LOCKING, migration::applied_version(connection)).await?;
    if migration.version <= applied {
        answered(LOCKING, migration::rollback(connection)).await?;
        return Ok(Applied { name, now: false });
    }
    answered(APPLYING, migration::apply(connection, migration.sql))
        .await
        .map_err(|source| MigrateError::Apply { name, source })?;
    Ok(Applied { name, now: true })
}

/// Creates the roles and grants their rights.
pub(crate) async fn create_roles(connection: &mut PgConnection) -> Result<(), MigrateError> {
    lock(connection).await?;
    let creating = answered(APPLYING, migration::apply(connection, ROLES));
    creating.await.map_err(MigrateError::Roles)
}

/// Begins a transaction beside which no other migration runs.
async fn lock(connection: &mut PgConnection) -> Result<(), MigrateError> {
    answered(LOCKING, migration::begin(connection)).await?;
    let locking = answered(LOCKING, migration::lock(connection));
    locking.await.map_err(MigrateError::Locked)
}

/// Waits for an answer for at most `answer_timeout`. The server's errors are kept as they are: the remedies for the
/// relay's own user are wrong for the schema's owner.
async fn answered<T>(
    answer_timeout: Duration,
    answer: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, DatabaseError> {
    let answer = timeout(answer_timeout, answer).await;
    let answer = answer.map_err(|_| DatabaseError::Silent(answer_timeout))?;
    answer.map_err(DatabaseError::Query)
}
