//! Reasons why the database cannot be used.

use std::time::Duration;

use amqp::TlsError;
use outbox::{
    database::{AttemptError, ConnectError, InvalidUrl, Unverified},
    schema::SchemaError,
};
use relay_core::sequence::SequenceError;
use sqlx::postgres::PgDatabaseError;

use super::{CONNECT_TIMEOUT, settings::SEARCH_PATH};
use crate::config::ConfigError;

/// Reason why the database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// No URL is set.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The URL cannot be read.
    #[error("the database's URL {url} is not understood: {source}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// The problem.
        source: InvalidUrl,
    },
    /// A server on another machine would get the password before its identity is proven.
    #[error(
        "the database's URL {url}: {source}. Write sslmode=verify-full into the URL (and sslrootcert=… for an authority that the system does not know), or set database.allow_plaintext = true (POSTROOM_DATABASE_ALLOW_PLAINTEXT) if nobody can listen or answer in between"
    )]
    Unverified {
        /// The URL, without its password.
        url: String,
        /// The danger.
        source: Unverified,
    },
    /// A file for TLS cannot be used.
    #[error("the database's URL {url}: {source} (sslrootcert, sslcert, sslkey)")]
    TlsFile {
        /// The URL, without its password.
        url: String,
        /// The problem.
        source: TlsError,
    },
    /// The encrypted connection cannot be made.
    #[error("connecting to {url}: {meaning} ({source})")]
    Tls {
        /// The URL, without its password.
        url: String,
        /// The meaning of the client's error.
        meaning: &'static str,
        /// The client's error.
        source: sqlx::Error,
    },
    /// The URL asks for a standby.
    #[error(
        "{url} asks for a standby (target_session_attrs): only a primary shows all transactions; write target_session_attrs=primary"
    )]
    Target {
        /// The URL, without its password.
        url: String,
    },
    /// None of several servers can be used.
    #[error("connecting to {url}: no server can be used; {source}")]
    NoServer {
        /// The URL, without its password.
        url: String,
        /// The cause for each server.
        source: ConnectError,
    },
    /// The server cannot be reached, or refuses the connection.
    #[error("connecting to {url}: {source}")]
    Connect {
        /// The URL, without its password.
        url: String,
        /// The client's error.
        source: sqlx::Error,
    },
    /// The credentials or the database's name are wrong.
    #[error("{url} refuses the connection: {source}; check user, password and database")]
    Unauthorised {
        /// The URL, without its password.
        url: String,
        /// The server's error.
        source: sqlx::Error,
    },
    /// The server does not answer in time.
    #[error("connecting to {url}: no answer within {CONNECT_TIMEOUT:?}")]
    TimedOut {
        /// The URL, without its password.
        url: String,
    },
    /// The URL leads to a connection pooler.
    #[error(
        "{url} leads to a connection pooler: the lease needs a connection of its own; point the relay at PostgreSQL itself"
    )]
    Pooler {
        /// The URL, without its password.
        url: String,
    },
    /// The session has another `search_path` than it asked for.
    #[error(
        "the relay's session at {url} asked for the search_path {SEARCH_PATH:?} and has {path:?}: functions and operators of others could run as the relay. Find what changes it when a session begins, a pooler or an event trigger on login, and exempt the relay's user"
    )]
    SearchPath {
        /// The URL, without its password.
        url: String,
        /// The path in force.
        path: String,
    },
    /// The server is a standby.
    #[error(
        "{url} is a standby: only a primary shows all transactions; point the relay at the primary"
    )]
    Standby {
        /// The URL, without its password.
        url: String,
    },
    /// The database's encoding is not UTF8.
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
    /// Row-level security would hide rows.
    #[error(
        "{0}: row-level security would hide messages from the relay, which must see them all. As the tables' owner: ALTER TABLE … DISABLE ROW LEVEL SECURITY, for each table of the schema outbox; or give this user BYPASSRLS"
    )]
    RowSecurity(#[source] sqlx::Error),
    /// The database accepts no writes from this session.
    #[error(
        "the database takes no writes from this user: default_transaction_read_only is on for the role, the database or the server. Whoever set it, perhaps since the disk is full, must set it off: ALTER ROLE … or ALTER DATABASE … SET default_transaction_read_only = off"
    )]
    ReadOnly,
    /// A statement was not answered in time.
    #[error(
        "the database gave no answer within {0:?}: the connection fell silent, or somebody locks what was to be read"
    )]
    Silent(Duration),
    /// A command waited too long for another session's lock.
    #[error(
        "{0}: somebody has locked what this command needs. It has changed nothing; try again later, or find a session that has been open for long: SELECT pid, application_name, state, xact_start, query FROM pg_stat_activity ORDER BY xact_start"
    )]
    Locked(#[source] sqlx::Error),
    /// A commit's wait for the synchronous standbys was cancelled.
    #[error(
        "somebody cancelled this relay's wait for the synchronous standbys: what it was to publish may be on none of them, and is held back until a commit reaches them"
    )]
    NotReplicated,
    /// This release does not support the schema's version.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The checkpoint, or the rows if there is no checkpoint, belong to another database.
    #[error(
        "the outbox's checkpoint, or its rows if there is none, are of another database (restored, copied or moved): going on could lose messages. Run `relay rebase` once: it publishes everything that may be undelivered, with duplicates but without losses"
    )]
    Foreign,
    /// The sequence does not allocate positions in order.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// A reader connection reached another server than the lease's.
    #[error(
        "a reader connection reached a server on which this relay does not hold the lease; the URL must lead to one primary"
    )]
    Elsewhere,
    /// A statement failed.
    #[error(transparent)]
    Query(sqlx::Error),
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match code(&error).as_deref() {
            Some("42501") if is_row_security(&error) => Self::RowSecurity(error),
            // insufficient privilege
            Some("42501") => Self::Denied(error),
            // read-only transaction
            Some("25006") => Self::ReadOnly,
            // lock not available
            Some("55P03") => Self::Locked(error),
            _ => Self::Query(error),
        }
    }
}

impl DatabaseError {
    /// Returns `true` if the error stays until an operator changes the configuration or the database.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::Url { .. }
            | Self::Unverified { .. }
            | Self::TlsFile { .. }
            | Self::Target { .. }
            | Self::Pooler { .. }
            | Self::SearchPath { .. }
            | Self::Encoding { .. }
            | Self::Unauthorised { .. }
            | Self::Denied(_)
            | Self::RowSecurity(_)
            | Self::Foreign
            | Self::Sequence(_) => true,
            Self::Schema(error) => !matches!(error, SchemaError::Database(_)),
            Self::NoServer { source, .. } => source.attempts().all(|(_, attempt)| match attempt {
                AttemptError::Refused(error) => is_unauthorised(error),
                _ => false,
            }),
            _ => false,
        }
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// Returns `true` if the server refused a statement because a policy would hide rows from it. Error texts may be
/// translated; names of server functions never are.
fn is_row_security(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error();
    refused
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .is_some_and(|error| error.routine() == Some("check_enable_rls"))
}

/// Returns `true` for an invalid authorization, an invalid password, no such database, no privilege to connect.
fn is_unauthorised(error: &sqlx::Error) -> bool {
    matches!(
        code(error).as_deref(),
        Some("28000" | "28P01" | "3D000" | "42501")
    )
}

/// Classifies the errors of failed connection attempts.
pub(super) fn no_server(url: String, error: ConnectError) -> DatabaseError {
    match error.into_single() {
        Ok(AttemptError::Refused(source)) => refused(url, source),
        Ok(AttemptError::TimedOut(_)) => DatabaseError::TimedOut { url },
        Ok(_) => DatabaseError::Standby { url },
        Err(source) => DatabaseError::NoServer { url, source },
    }
}

fn refused(url: String, source: sqlx::Error) -> DatabaseError {
    // PgBouncer: "unsupported startup parameter: options"
    if source.to_string().contains("startup parameter") {
        return DatabaseError::Pooler { url };
    }
    if is_unauthorised(&source) {
        return DatabaseError::Unauthorised { url, source };
    }
    match tls_problem(&source) {
        Some(meaning) => DatabaseError::Tls {
            url,
            meaning,
            source,
        },
        None => DatabaseError::Connect { url, source },
    }
}

/// Returns the meaning of an error of TLS.
fn tls_problem(error: &sqlx::Error) -> Option<&'static str> {
    if let sqlx::Error::Tls(problem) = error
        && problem.to_string().contains("does not support TLS")
    {
        return Some(
            "the server answers without TLS, or somebody in between does; switch ssl on at the server, and find out who answers",
        );
    }
    amqp::explain(error)
}
