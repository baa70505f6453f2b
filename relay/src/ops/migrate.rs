//! `relay migrate`.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use migrations::{MIGRATIONS, ROLES};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use tokio::time::timeout;

use super::source::{Source, say};
use crate::{config::Secret, database::DatabaseError};

/// How to migrate.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the SQL that would be applied to an empty database, and apply nothing
    #[arg(long)]
    print: bool,
    /// Also create the roles and grants of migrations/roles.sql; needs CREATEROLE unless the roles exist
    #[arg(long)]
    roles: bool,
}

// One after another. For the transaction, so that a pooler cannot keep it: a file's own BEGIN does nothing
// within it, and its COMMIT ends it. The class is that of leases, whose objects are lanes from 0 on.
pub(crate) const LOCK: &str = "SELECT pg_advisory_xact_lock(1886352244, -1)";

// The files do so themselves. What is asked before them must not run functions of others either, as a user who is
// often a superuser. For the transaction, so that a pooler cannot keep it.
pub(crate) const SEARCH: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// So long the server is given for a statement that waits for locks at most, a minute.
const LOCKING: Duration = Duration::from_secs(75);

/// So long a migration may take, whose tables may be large one day.
const APPLYING: Duration = Duration::from_hours(1);

pub(super) async fn run(source: &Source, options: &Options) -> anyhow::Result<ExitCode> {
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
    let url = config.database_url()?;
    let mut connection = connect(url).await?;
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

/// Waits for an answer so long, or says that none came.
async fn answered<T>(
    answer_timeout: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> anyhow::Result<T> {
    let answer = timeout(answer_timeout, answer).await;
    Ok(answer.map_err(|_| DatabaseError::Silent(answer_timeout))??)
}

async fn connect(url: &Secret) -> anyhow::Result<PgConnection> {
    let connecting = || format!("connecting to {url}");
    timeout(CONNECT, PgConnection::connect(url.expose()))
        .await
        .with_context(|| format!("no answer within {CONNECT:?}"))
        .with_context(connecting)?
        .with_context(connecting)
}

/// What a lock that was not granted means.
fn locked() -> String {
    "waiting for another migration or its locks; find who holds them in pg_stat_activity and run this again: what is applied stays".to_owned()
}

/// Begins a transaction that no other migration runs beside.
async fn lock(connection: &mut PgConnection) -> anyhow::Result<()> {
    // Whoever waited must see what was done meanwhile.
    let begin = connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED");
    answered(LOCKING, begin).await?;
    answered(LOCKING, connection.execute(SEARCH)).await?;
    // What waits for a lock holds up those behind it. For the transaction, as the lock itself.
    let give_up = connection.execute("SET LOCAL lock_timeout = '1min'");
    answered(LOCKING, give_up).await?;
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
