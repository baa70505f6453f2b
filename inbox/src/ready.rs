//! Whether the database serves a consumer.

use outbox::schema::{self, SchemaError};
use sqlx::PgConnection;
use tokio::time::sleep;

use crate::{DatabaseError, RunError, engine::Engine, sql, transaction::within};

/// What was found.
enum Found {
    /// It does, or will not until somebody changes something.
    Known(Result<(), RunError>),
    /// It cannot be asked now.
    Away(sqlx::Error),
}

/// Waits for the database, however long it takes to reach it, and checks that a consumer can work in it.
///
/// # Errors
/// What will not pass by itself.
pub(crate) async fn wait(engine: &Engine) -> Result<(), RunError> {
    let mut tries = 0;
    loop {
        let error = match look(engine).await {
            Found::Known(known) => return known,
            Found::Away(error) => error,
        };
        engine.emit_unavailable("looking at the database", &error);
        sleep(engine.limits.outage.delay(tries)).await;
        tries += 1;
    }
}

async fn look(engine: &Engine) -> Found {
    let consumer = engine.consumer().to_owned();
    let refused = |consumer, source| Found::Known(Err(RunError::Database { consumer, source }));
    let mut connection = match engine.settings.pool.acquire().await {
        Ok(connection) => connection,
        Err(error) if sql::is_refused(&error) => {
            return refused(consumer, DatabaseError::Refused(error));
        }
        Err(error) => return Found::Away(error),
    };
    let checking = async {
        match schema::check(&mut connection).await {
            Err(SchemaError::Database(error)) => Err(error),
            checked => Ok(checked),
        }
    };
    match within(checking).await {
        Ok(Ok(())) => {}
        Err(error) => return Found::Away(error),
        Ok(Err(source)) => return Found::Known(Err(RunError::Schema { consumer, source })),
    }
    match within(serves(&mut connection)).await {
        Ok(None) => Found::Known(Ok(())),
        Ok(Some(source)) => refused(consumer, source),
        Err(error) => Found::Away(error),
    }
}

/// What keeps a consumer from working on this session.
async fn serves(connection: &mut PgConnection) -> Result<Option<DatabaseError>, sqlx::Error> {
    let server = sql::session::server(connection).await?;
    Ok(if server.encoding != "UTF8" {
        Some(DatabaseError::Encoding(server.encoding))
    } else if server.may_work {
        None
    } else {
        Some(DatabaseError::Rights { user: server.user })
    })
}
