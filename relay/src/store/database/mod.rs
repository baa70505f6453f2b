//! Connects to the outbox's database and checks that the session is usable.

mod error;
mod settings;

use std::{str::FromStr as _, time::Duration};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;
use tracing::log::LevelFilter;

use self::settings::{MESSAGES, SEARCH_PATH, silence_allowed};
use crate::{config::Secret, store::server};

pub use error::DatabaseError;
pub(crate) use settings::{Purpose, settings};

/// Longest wait for a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, with the settings that the purpose needs.
pub(crate) async fn connect(
    url: &Secret,
    purpose: Purpose,
    name: &str,
) -> Result<PgConnection, DatabaseError> {
    let connecting = timeout(CONNECT_TIMEOUT, connect_and_check(url, purpose, name));
    let url = url.to_string();
    (connecting.await).unwrap_or(Err(DatabaseError::TimedOut { url }))
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
    let (connected, url) = (options.connect().await, url.to_string());
    let mut connection = connected.map_err(|source| error::refused(url.clone(), source))?;
    let in_force = server::in_force(&mut connection).await?;
    if in_force.plans != purpose.plans()
        || in_force.silence != silence_allowed(purpose)
        || in_force.messages != MESSAGES
    {
        return Err(DatabaseError::Pooler { url });
    }
    if in_force.search_path != SEARCH_PATH {
        let path = in_force.search_path;
        return Err(DatabaseError::SearchPath { url, path });
    }
    // A relay that cannot record a checkpoint must not publish: each session would publish everything again.
    if matches!(purpose, Purpose::Lease { .. }) && in_force.reads_only == "on" {
        return Err(DatabaseError::ReadOnly);
    }
    // With another encoding, the server may send bytes that are not valid text, or fail to convert a text.
    if in_force.encoding != "UTF8" {
        let encoding = in_force.encoding;
        return Err(DatabaseError::Encoding { url, encoding });
    }
    if server::in_recovery(&mut connection).await? {
        return Err(DatabaseError::Standby { url });
    }
    Ok(connection)
}
