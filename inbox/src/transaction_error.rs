//! The error of a delivery's transaction.

use std::time::Duration;

use crate::handler::{BoxError, Disposition, HandlerError, HandlerFailure};

/// Why a delivery's transaction did not commit. Nothing was written, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The database could not be reached, or refused a statement before the handler ran.
    #[error("beginning the transaction of a message: the database cannot be used")]
    Unavailable(#[source] sqlx::Error),

    /// The message has no id, by which a duplicate could be recognised.
    #[error("the message has no id; its publisher must set AMQP's message-id property")]
    NoId,

    /// The message is older than the dedup window.
    #[error(
        "the message is older than the dedup window: whether it was handled is no longer known"
    )]
    Stale,

    /// The message's id or time is further in the future than the allowed skew.
    #[error(
        "the message's id or time is further in the future than the allowed skew; look at its publisher's clock"
    )]
    Future,

    /// The body cannot be decoded as the handler's event.
    #[error("the body could not be read as the event of its type")]
    Undecodable(#[source] BoxError),

    /// No handler takes the message's type.
    #[error("{0}")]
    Unhandled(String),

    /// The handler failed.
    #[error("the handler failed")]
    Handler(#[source] HandlerFailure),

    /// The handler panicked.
    #[error("the handler panicked: {0}")]
    Panicked(String),

    /// The handler took longer than this time and was dropped.
    #[error("the handler did not end within {0:?}")]
    TimedOut(Duration),

    /// The handler returned while its context still existed, and with it the transaction.
    #[error(
        "the handler ended but kept its context, and with it the transaction; drop it before returning"
    )]
    Leaked,

    /// A statement failed and the handler ignored the error, so the transaction is aborted.
    #[error(
        "the handler passed over a failed statement: its transaction is aborted; return the error, or use a savepoint"
    )]
    Aborted(#[source] sqlx::Error),

    /// The handler ended the transaction itself. Its writes may be committed.
    #[error(
        "the handler ended the transaction itself, and what it had written by then is committed if it did so with COMMIT; leave COMMIT and ROLLBACK to the inbox, and use savepoints"
    )]
    Ended,

    /// The connection was lost while the handler ran.
    #[error("the connection to the database was lost while the message was handled")]
    Lost(#[source] sqlx::Error),

    /// The commit failed, or its outcome is unknown.
    #[error("committing the transaction of a message")]
    Commit(#[source] sqlx::Error),
}

impl From<HandlerError> for TransactionError {
    fn from(error: HandlerError) -> Self {
        let failure = HandlerFailure::from(error);
        match failure.disposition() {
            Disposition::Undecodable => Self::Undecodable(failure.into_error()),
            Disposition::Unhandled => Self::Unhandled(failure.to_string()),
            Disposition::Retry | Disposition::Reject | Disposition::Defer(_) => {
                Self::Handler(failure)
            }
        }
    }
}
