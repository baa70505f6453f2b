//! Connections to the outbox's database.

use std::{future::Future, str::FromStr as _, time::Duration};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;
use tracing::log::LevelFilter;

use crate::{config::Secret, error::RelayError, sql::server};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Value of `client_min_messages`: a cancelled wait for a standby shows in a warning and nowhere else.
const MESSAGES: &str = "warning";

/// Why a connection cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The URL cannot be read.
    #[error("the database's URL {url} is not understood: {source}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The server cannot be reached, or refuses.
    #[error("connecting to {url}: {source}")]
    Connect {
        /// The URL, without its password.
        url: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The credentials or the database's name are wrong.
    #[error("{url} refuses the connection: {source}; check user, password and database")]
    Unauthorised {
        /// The URL, without its password.
        url: String,
        /// The server's words.
        source: sqlx::Error,
    },
    /// The server does not answer.
    #[error("connecting to {url}: no answer within {CONNECT_TIMEOUT:?}")]
    TimedOut {
        /// The URL, without its password.
        url: String,
    },
    /// A pooler stands between.
    #[error(
        "{url} leads to a connection pooler: the lease needs a connection of its own; point the relay at PostgreSQL itself"
    )]
    Pooler {
        /// The URL, without its password.
        url: String,
    },
    /// The server is a standby.
    #[error(
        "{url} is a standby: only a primary shows all transactions; point the relay at the primary"
    )]
    Standby {
        /// The URL, without its password.
        url: String,
    },
    /// Its texts may be anything.
    #[error(
        "{url} has the server encoding {encoding}; Postroom needs a UTF8 database: create one with ENCODING 'UTF8' and restore a dump into it"
    )]
    Encoding {
        /// The URL, without its password.
        url: String,
        /// The database's encoding.
        encoding: String,
    },
    /// The user lacks a privilege.
    #[error(
        "{0}; GRANT outbox_relay to this user (migrations/roles.sql), `relay check` lists what is missing"
    )]
    Denied(#[source] sqlx::Error),
    /// It takes no writes from this session.
    #[error(
        "the database takes no writes from this user: default_transaction_read_only is on for the role, the database or the server. Whoever set it, perhaps since the disk is full, must set it off: ALTER ROLE … or ALTER DATABASE … SET default_transaction_read_only = off"
    )]
    ReadOnly,
    /// A statement was not answered.
    #[error(
        "the database gave no answer within {0:?}: the connection fell silent, or somebody locks what was to be read"
    )]
    Silent(Duration),
    /// A commit's wait for the synchronous standbys was cancelled.
    #[error(
        "somebody cancelled this relay's wait for the synchronous standbys: what it was to publish may be on none of them, and is held back until a commit reaches them"
    )]
    NotReplicated,
    /// A statement failed.
    #[error(transparent)]
    Query(sqlx::Error),
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match code(&error).as_deref() {
            // insufficient privilege
            Some("42501") => Self::Denied(error),
            // read-only transaction
            Some("25006") => Self::ReadOnly,
            _ => Self::Query(error),
        }
    }
}

impl DatabaseError {
    /// Whether trying again cannot help before somebody changes something.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Url { .. }
            | Self::Pooler { .. }
            | Self::Encoding { .. }
            | Self::Unauthorised { .. }
            | Self::Denied(_) => true,
            Self::Connect { .. }
            | Self::Query(_)
            | Self::TimedOut { .. }
            | Self::Silent(_)
            | Self::NotReplicated
            | Self::ReadOnly
            | Self::Standby { .. } => false,
        }
    }
}

/// Waits for an answer, but not for ever: a client has nothing else by which to notice that a connection
/// fell silent.
pub(crate) async fn answered<T, E>(
    patience: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, RelayError>
where
    RelayError: From<E>,
{
    match timeout(patience, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(DatabaseError::Silent(patience).into()),
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// Why a connection could not be made.
fn refused(url: String, source: sqlx::Error) -> DatabaseError {
    // PgBouncer: "unsupported startup parameter: options"
    if source.to_string().contains("startup parameter") {
        return DatabaseError::Pooler { url };
    }
    match code(&source).as_deref() {
        // invalid authorization, invalid password, no such database, no privilege to connect
        Some("28000" | "28P01" | "3D000" | "42501") => DatabaseError::Unauthorised { url, source },
        _ => DatabaseError::Connect { url, source },
    }
}

/// What a connection is for; decides its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Holds the lease and records everything. The server ends it when it falls silent.
    Lease {
        /// Silence after which the server ends it.
        timeout: Duration,
    },
    /// Reads frames: few statements, very often. Their plans are kept, since making one takes longer
    /// than running it.
    Frames,
    /// Reads whatever else.
    Reader,
}

impl Purpose {
    /// Value of `plan_cache_mode`.
    const fn plans(self) -> &'static str {
        match self {
            Self::Frames => "force_generic_plan",
            Self::Lease { .. } | Self::Reader => "force_custom_plan",
        }
    }
}

/// Connects, with the settings that the purpose needs.
pub(crate) async fn connect(
    url: &Secret,
    purpose: Purpose,
    name: &str,
) -> Result<PgConnection, DatabaseError> {
    let connecting = timeout(CONNECT_TIMEOUT, connect_and_look(url, purpose, name));
    connecting.await.unwrap_or_else(|_| {
        let url = url.to_string();
        Err(DatabaseError::TimedOut { url })
    })
}

async fn connect_and_look(
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
    let mut connection = connected.map_err(|source| refused(url.to_string(), source))?;
    let in_force = server::in_force(&mut connection).await?;
    if in_force.plans != purpose.plans()
        || in_force.silence != silence_allowed(purpose)
        || in_force.messages != MESSAGES
    {
        return Err(DatabaseError::Pooler {
            url: url.to_string(),
        });
    }
    // Whoever cannot record must not publish: it would all be published again by each session.
    if matches!(purpose, Purpose::Lease { .. }) && in_force.reads_only {
        return Err(DatabaseError::ReadOnly);
    }
    // In others the server passes on, as text, bytes that are none, or cannot convert what it holds.
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

/// Settings sent with the start-up packet, which a transaction pooler refuses.
pub(crate) fn settings(purpose: Purpose) -> Vec<(&'static str, String)> {
    // Plans must not depend on statistics: those of an empty table would walk a full one.
    let mut settings: Vec<(&'static str, String)> = [
        ("plan_cache_mode", purpose.plans()),
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("enable_sort", "off"),
        ("jit", "off"),
        ("default_transaction_isolation", "read committed"),
        ("max_parallel_workers_per_gather", "0"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "10000"),
        ("client_min_messages", MESSAGES),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    let silence = silence_allowed(purpose);
    if let Purpose::Lease { .. } = purpose {
        settings.push(("synchronous_commit", "on".to_owned()));
        settings.push(("tcp_user_timeout", silence.clone()));
    }
    settings.push(("idle_session_timeout", silence));
    settings
}

/// Milliseconds of silence after which the server ends a session, or 0.
fn silence_allowed(purpose: Purpose) -> String {
    match purpose {
        Purpose::Lease { timeout } => timeout.as_millis().to_string(),
        Purpose::Frames | Purpose::Reader => "0".to_owned(),
    }
}
