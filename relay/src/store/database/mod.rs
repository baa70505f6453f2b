//! Connects to the outbox's database and checks that the session is usable.

mod error;
mod settings;

use std::time::Duration;

use amqp::Tls;
use outbox::database::{DatabaseAddress, TargetSession};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;
use tracing::log::LevelFilter;

use self::settings::{MESSAGES, SEARCH_PATH, silence_allowed};
use crate::{
    config::{Config, Secret},
    store::server,
};

pub use error::DatabaseError;
pub(crate) use settings::{Purpose, settings};

/// Longest wait for a connection to one server, and again for the checks of the session.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, with the settings that the purpose needs, and checks the session.
pub(crate) async fn connect(
    config: &Config,
    purpose: Purpose,
    name: &str,
) -> Result<PgConnection, DatabaseError> {
    let mut connection = open(config, |options| {
        options
            .application_name(name)
            .options(settings(purpose))
            .log_statements(LevelFilter::Trace)
            .log_slow_statements(LevelFilter::Debug, Duration::from_secs(1))
    })
    .await?;
    let url = config.database_url()?;
    let checking = check(&mut connection, url.to_string(), purpose);
    match timeout(CONNECT_TIMEOUT, checking).await {
        Ok(checked) => checked.map(|()| connection),
        Err(_) => Err(DatabaseError::TimedOut {
            url: url.to_string(),
        }),
    }
}

/// Connects to the primary among the URL's servers, without settings and checks of the session.
pub(crate) async fn open(
    config: &Config,
    adjust: impl Fn(PgConnectOptions) -> PgConnectOptions,
) -> Result<PgConnection, DatabaseError> {
    let url = config.database_url()?;
    let address = address(url, config.database.allow_plaintext)?;
    let connected = address.connect(CONNECT_TIMEOUT, adjust).await;
    let (connection, _) = connected.map_err(|error| error::no_server(url.to_string(), error))?;
    Ok(connection)
}

/// Reads the URL. Of several servers the relay needs the primary, whatever the URL asks for.
fn address(url: &Secret, allow_plaintext: bool) -> Result<DatabaseAddress, DatabaseError> {
    let address: DatabaseAddress = url.expose().parse().map_err(|source| DatabaseError::Url {
        url: url.to_string(),
        source,
    })?;
    if let Some(source) = address.unverified()
        && !allow_plaintext
    {
        return Err(DatabaseError::Unverified {
            url: url.to_string(),
            source,
        });
    }
    check_files(url, &address)?;
    match address.target() {
        TargetSession::Standby | TargetSession::ReadOnly => Err(DatabaseError::Target {
            url: url.to_string(),
        }),
        // The check of the session says more about a server that cannot be used.
        _ if address.servers().len() == 1 => Ok(address.with_target(TargetSession::Any)),
        TargetSession::ReadWrite => Ok(address),
        _ => Ok(address.with_target(TargetSession::Primary)),
    }
}

/// Checks the files for TLS: sqlx's errors do not name them.
fn check_files(url: &Secret, address: &DatabaseAddress) -> Result<(), DatabaseError> {
    let mut tls = Tls::new();
    if let Some(file) = address.root_certificate() {
        tls = tls.ca(file);
    }
    if let Some(file) = address.certificate() {
        tls = tls.certificate(file);
    }
    if let Some(file) = address.key() {
        tls = tls.key(file);
    }
    if tls == Tls::new() {
        return Ok(());
    }
    tls.check().map_err(|source| DatabaseError::TlsFile {
        url: url.to_string(),
        source,
    })
}

async fn check(
    connection: &mut PgConnection,
    url: String,
    purpose: Purpose,
) -> Result<(), DatabaseError> {
    let in_force = server::in_force(connection).await?;
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
    if server::in_recovery(connection).await? {
        return Err(DatabaseError::Standby { url });
    }
    Ok(())
}
