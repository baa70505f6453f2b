//! Connects to the outbox's database and checks that the session is usable.

mod error;
mod settings;

use std::{str::FromStr as _, time::Duration};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;
use tracing::log::LevelFilter;

use self::settings::{MESSAGES, SEARCH_PATH, silence_allowed};
use crate::{config::Secret, store::sql::server};

pub use error::DatabaseError;
pub(crate) use settings::{Purpose, settings};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, with the settings that the purpose needs.
pub(crate) async fn connect(
    url: &Secret,
    purpose: Purpose,
    name: &str,
) -> Result<PgConnection, DatabaseError> {
    let connecting = timeout(CONNECT_TIMEOUT, connect_and_check(url, purpose, name));
    connecting.await.unwrap_or_else(|_| {
        let url = url.to_string();
        Err(DatabaseError::TimedOut { url })
    })
}

async fn connect_and_check(
    url: &Secret,
    purpose: Purpose,
    name: &str,
) -> Result<PgConnection, DatabaseError> {
    let options = PgConnectOptions::from_str(url.expose())
        .map_err(|source| DatabaseError::Url {
            url: url.to_string(),
            source,
        })?
        .application_name(name)
        .options(settings(purpose))
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Debug, Duration::from_secs(1));
    let connected = options.connect().await;
    let mut connection = connected.map_err(|source| error::refused(url.to_string(), source))?;
    let in_force = server::in_force(&mut connection).await?;
    if in_force.plans != purpose.plans()
        || in_force.silence != silence_allowed(purpose)
        || in_force.messages != MESSAGES
    {
        return Err(DatabaseError::Pooler {
            url: url.to_string(),
        });
    }
    if in_force.search_path != SEARCH_PATH {
        return Err(DatabaseError::SearchPath {
            path: in_force.search_path,
            url: url.to_string(),
        });
    }
    // A relay that cannot record a checkpoint must not publish: each session would publish everything again.
    if matches!(purpose, Purpose::Lease { .. }) && in_force.reads_only {
        return Err(DatabaseError::ReadOnly);
    }
    // With another encoding, the server may send bytes that are not valid text, or fail to convert a text.
    if in_force.encoding != "UTF8" {
        return Err(DatabaseError::Encoding {
            encoding: in_force.encoding,
            url: url.to_string(),
        });
    }
    if server::in_recovery(&mut connection).await? {
        return Err(DatabaseError::Standby {
            url: url.to_string(),
        });
    }
    Ok(connection)
}
