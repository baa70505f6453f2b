//! Errors that end a relay or a session.

use crate::{config::ConfigError, store::DatabaseError, transport::BrokerError};

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
    /// The broker refuses the relay permanently.
    #[error(transparent)]
    Broker(#[from] BrokerError),
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

impl RelayError {
    /// Returns `true` if a retry cannot succeed before a person changes something.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Config(_) | Self::Listen { .. } => true,
            Self::Database(error) => error.is_permanent(),
            Self::Broker(error) => error.is_permanent(),
            Self::Task => false,
        }
    }
}
