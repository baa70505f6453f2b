//! Errors that end a relay or a session.

use relay_core::sequence::SequenceError;

use crate::{config::ConfigError, store::database::DatabaseError, transport::BrokerError};

/// Error that ends a relay or a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database is unusable.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// This release does not support the schema's version.
    #[error(transparent)]
    Schema(#[from] outbox::schema::SchemaError),
    /// The broker refuses the relay permanently.
    #[error(transparent)]
    Broker(#[from] BrokerError),
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
    /// The address for health and metrics is not free.
    #[error(
        "listening on {address} for health and metrics: {source}; set admin.listen to a free address"
    )]
    Listen {
        /// Configured address.
        address: std::net::SocketAddr,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A task of the relay panicked.
    #[error("a task of the relay panicked; the log tells where and why")]
    Task,
}

impl From<sqlx::Error> for RelayError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl RelayError {
    /// Returns `true` if a retry cannot succeed before a person changes something.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Config(_) | Self::Foreign | Self::Sequence(_) | Self::Listen { .. } => true,
            Self::Schema(error) => !matches!(error, outbox::schema::SchemaError::Database(_)),
            Self::Database(error) => error.is_permanent(),
            Self::Broker(error) => error.is_permanent(),
            Self::Elsewhere | Self::Task => false,
        }
    }
}
