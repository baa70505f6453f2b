//! The check at the start that a consumer can work in its database.

use std::{io, time::Duration};

use outbox::{
    database::Unverified,
    schema::{self, SchemaError},
};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::{sleep, timeout};

use crate::{
    DatabaseError, RunError, engine::Engine, events, server_error, sql,
    transaction::with_answer_timeout,
};

/// Longest wait for the first connection to the database.
const PROBE: Duration = Duration::from_millis(1_500);

/// The result of one check.
enum Check {
    /// The consumer can work in the database, or needs a change by an operator first.
    Known(Result<(), RunError>),
    /// The database is unavailable now.
    Unavailable(sqlx::Error),
}

/// Waits until the database is available, without a limit, and checks that a consumer can work in it.
///
/// # Errors
/// A problem that needs a change by an operator.
pub(crate) async fn wait(engine: &Engine) -> Result<(), RunError> {
    let options = engine.settings.pool.connect_options();
    if let Some(danger) = Unverified::of_options(&options) {
        events::DatabaseUnverified {
            consumer: engine.consumer(),
            danger: &danger.to_string(),
        }
        .emit();
    }
    let mut tries = 0_u32;
    loop {
        let error = match check(engine).await {
            Check::Known(known) => return known,
            Check::Unavailable(error) => error,
        };
        engine.emit_unavailable("looking at the database", &error);
        sleep(engine.limits.outage.wait(tries.saturating_add(1))).await;
        tries += 1;
    }
}

async fn check(engine: &Engine) -> Check {
    let consumer = engine.consumer().to_owned();
    let refused = |consumer, source| Check::Known(Err(RunError::Database { consumer, source }));
    // Until its own time-out, the pool repeats attempts to connect, and hides their errors.
    if let Err(error) = probe(&engine.settings.pool).await {
        if server_error::is_refused(&error) {
            return refused(consumer, DatabaseError::Refused(error));
        }
        return Check::Unavailable(error);
    }
    let mut connection = match engine.settings.pool.acquire().await {
        Ok(connection) => connection,
        Err(error) if server_error::is_refused(&error) => {
            return refused(consumer, DatabaseError::Refused(error));
        }
        Err(error) => return Check::Unavailable(error),
    };
    let checking = async {
        match schema::check(&mut connection).await {
            Err(SchemaError::Database(error)) => Err(error),
            checked => Ok(checked),
        }
    };
    match with_answer_timeout(checking).await {
        Ok(Ok(())) => {}
        Err(error) => return Check::Unavailable(error),
        Ok(Err(source)) => return Check::Known(Err(RunError::Schema { consumer, source })),
    }
    match with_answer_timeout(problem(&mut connection)).await {
        Ok(None) => Check::Known(Ok(())),
        Ok(Some(source)) => refused(consumer, source),
        Err(error) => Check::Unavailable(error),
    }
}

/// Connects once, outside the pool.
///
/// # Errors
/// Returns the reason, after [`PROBE`] at the latest.
async fn probe(pool: &PgPool) -> Result<(), sqlx::Error> {
    let options = pool.connect_options();
    let connecting = PgConnection::connect_with(&options);
    let Ok(connected) = timeout(PROBE, connecting).await else {
        let text = format!("no connection within {PROBE:?}");
        return Err(io::Error::new(io::ErrorKind::TimedOut, text).into());
    };
    connected?.close().await
}

/// Returns the problem that keeps a consumer from working in this session; `None` if there is none.
async fn problem(connection: &mut PgConnection) -> Result<Option<DatabaseError>, sqlx::Error> {
    let server = sql::session::server(connection).await?;
    Ok(if server.encoding != "UTF8" {
        Some(DatabaseError::Encoding(server.encoding))
    } else if server.has_privileges {
        None
    } else {
        Some(DatabaseError::Rights { user: server.user })
    })
}
