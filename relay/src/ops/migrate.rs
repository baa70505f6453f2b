//! `relay migrate`: applies the migrations and, on request, the roles.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use migrations::{MIGRATIONS, ROLES};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use tokio::time::timeout;

use super::config_args::{ConfigArgs, say};
use crate::database::{self, DatabaseError};

/// Command-line options of `relay migrate`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the SQL that would be applied to an empty database, and apply nothing
    #[arg(long)]
    print: bool,
    /// Also create the roles and grants of migrations/roles.sql; needs CREATEROLE unless the roles exist
    #[arg(long)]
    roles: bool,
}

// Lets one migration run at a time. The lock belongs to the transaction, so that a pooler cannot keep it in a session.
// A migration file's BEGIN does nothing within this transaction, and its COMMIT ends it. The class is that of leases,
// whose objects are lanes from 0 on.
pub(crate) const LOCK: &str = "SELECT pg_advisory_xact_lock(1886352244, -1)";

// The migration files set the path too. The statements before them must not run functions of other roles either, as the
// user is often a superuser. The setting belongs to the transaction, so that a pooler cannot keep it in a session.
pub(crate) const SEARCH: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

/// Longest wait for a statement that may wait for locks, for which the server allows one minute.
const LOCKING: Duration = Duration::from_secs(75);

/// Longest wait for one migration, whose tables may be large.
const APPLYING: Duration = Duration::from_hours(1);

pub(super) async fn run(source: &ConfigArgs, options: &Options) -> anyhow::Result<ExitCode> {
    if options.print {
        for migration in MIGRATIONS {
            say(migration.sql)?;
        }
        if options.roles {
            say(ROLES)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let config = source.load()?;
    let mut connection = database::open(&config, |options| options).await?;
    for migration in MIGRATIONS {
        lock(&mut connection).await?;
        if migration.version <= applied_version(&mut connection).await? {
            answered(LOCKING, connection.execute("ROLLBACK")).await?;
            say(format!("{} is applied already", migration.name))?;
            continue;
        }
        answered(APPLYING, connection.execute(AssertSqlSafe(migration.sql)))
            .await
            .with_context(|| format!("applying {} as the schema's owner", migration.name))?;
        say(format!("{} applied", migration.name))?;
    }
    if options.roles {
        lock(&mut connection).await?;
        answered(APPLYING, connection.execute(AssertSqlSafe(ROLES)))
            .await
            .context("creating roles; a user with CREATEROLE can, or apply the GRANTs of migrations/roles.sql to roles of your own")?;
        say("roles applied")?;
    }
    answered(LOCKING, connection.close()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for an answer for at most `answer_timeout`.
async fn answered<T>(
    answer_timeout: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> anyhow::Result<T> {
    let answer = timeout(answer_timeout, answer).await;
    Ok(answer.map_err(|_| DatabaseError::Silent(answer_timeout))??)
}

/// Context of the error of a lock that was not granted in time.
fn locked() -> String {
    "waiting for another migration or its locks; find who holds them in pg_stat_activity and run this again: what is applied stays".to_owned()
}

/// Begins a transaction beside which no other migration runs.
async fn lock(connection: &mut PgConnection) -> anyhow::Result<()> {
    // Read committed, so that after a wait for the lock the transaction sees what another migration has applied.
    let begin = connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED");
    answered(LOCKING, begin).await?;
    answered(LOCKING, connection.execute(SEARCH)).await?;
    // A statement that waits for a lock blocks the sessions behind it. For this transaction only, like the lock.
    let limit_wait = connection.execute("SET LOCAL lock_timeout = '1min'");
    answered(LOCKING, limit_wait).await?;
    let lock = answered(LOCKING, connection.execute(LOCK));
    lock.await.with_context(locked).map(drop)
}

async fn applied_version(connection: &mut PgConnection) -> anyhow::Result<i32> {
    let exists = sqlx::query_scalar("SELECT to_regclass('outbox.migration') IS NOT NULL");
    let exists: bool = answered(LOCKING, exists.fetch_one(&mut *connection)).await?;
    if !exists {
        return Ok(0);
    }
    let version = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM outbox.migration");
    answered(LOCKING, version.fetch_one(connection)).await
}
