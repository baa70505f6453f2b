//! Why a delivery's transaction did not commit.

use std::time::Duration;

use crate::handler::{BoxError, Disposition, HandlerError};

/// Why a delivery's transaction did not commit. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The database could not be reached, or refused before the handler ran.
    #[error("beginning the transaction of a message: the database cannot be used")]
    Unavailable(#[source] sqlx::Error),

    /// The message has no id, so that a duplicate could not be told.
    #[error("the message has no id; its publisher must set AMQP's message-id property")]
    NoId,

    /// The message is older than the dedup window.
    #[error(
        "the message is older than the dedup window: whether it was handled is no longer known"
    )]
    Stale,

    /// The message is further in the future than is allowed.
    #[error(
        "the message's id or time is further in the future than the allowed skew; look at its publisher's clock"
    )]
    Future,

    /// The handler failed.
    #[error("the handler failed")]
    Handler(#[source] HandlerFailure),

    /// The handler panicked.
    #[error("the handler panicked: {0}")]
    Panicked(String),

    /// The handler took too long and was dropped.
    #[error("the handler did not end within {0:?}")]
    TimedOut(Duration),

    /// The handler kept its context.
    #[error(
        "the handler ended but kept its context, and with it the transaction; drop it before returning"
    )]
    Leaked,

    /// A statement failed and the handler passed over it.
    #[error(
        "the handler passed over a failed statement: its transaction is aborted; return the error, or use a savepoint"
    )]
    Aborted(#[source] sqlx::Error),

    /// The handler ended the transaction itself. What it had written may be committed.
    #[error(
        "the handler ended the transaction itself, and what it had written by then is committed if it did so with COMMIT; leave COMMIT and ROLLBACK to the inbox, and use savepoints"
    )]
    Ended,

    /// The connection was lost while the handler ran.
    #[error("the connection to the database was lost while the message was handled")]
    Lost(#[source] sqlx::Error),

    /// The message shared a transaction with others, and that was rolled back: because of any of
    /// them. It runs again by itself.
    #[error("the transaction that the message shared with others was rolled back")]
    Shared,

    /// The commit failed, or its outcome is unknown.
    #[error("committing the transaction of a message")]
    Commit(#[source] sqlx::Error),
}

/// A handler's error, as the source of [`TransactionError::Handler`].
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct HandlerFailure {
    pub(crate) disposition: Disposition,
    #[source]
    source: BoxError,
}

impl From<HandlerError> for HandlerFailure {
    fn from(error: HandlerError) -> Self {
        let (disposition, source) = error.into_parts();
        Self {
            disposition,
            source,
        }
    }
}
