//! The error of a delivery's transaction.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};

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
        "{0}, and is older than the dedup window: whether it was handled is no longer known; inbox.retry handles it"
    )]
    Stale(MessageTime),

    /// The message's id or time is further in the future than the allowed skew.
    #[error(
        "{0}, and is further in the future than the allowed skew; look at its publisher's clock; inbox.retry handles it, at that time if it comes before ids are deleted"
    )]
    Future(MessageTime),

    /// The message is to be handled when its time has come, after this wait. Until then, copies of it would be handled
    /// again.
    #[error("the message waits until its time, {0}, is inside the dedup window")]
    Early(DateTime<Utc>, Duration),

    /// The body cannot be decoded as the handler's event.
    #[error("the body could not be read as the event of its type")]
    Undecodable(#[source] BoxError),

    /// No handler takes the message's type.
    #[error("{0}")]
    Unhandled(String),

    /// The handler failed, rejected the message or deferred it. The text and the source are those of the failure.
    #[error(transparent)]
    Handler(HandlerFailure),

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

/// The time of a message, and the property that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageTime {
    /// The time inside the id, a UUID version 7.
    Id(DateTime<Utc>),
    /// The time in the header `cloudEvents_time`, or in AMQP's property `timestamp`.
    Property(DateTime<Utc>),
}

impl fmt::Display for MessageTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(time) => write!(f, "the message has the time {time} in its message_id"),
            Self::Property(time) => write!(
                f,
                "the message has the time {time} in its header cloudEvents_time or its timestamp"
            ),
        }
    }
}

impl From<HandlerError> for TransactionError {
    fn from(error: HandlerError) -> Self {
        HandlerFailure::from(error).into()
    }
}

impl From<HandlerFailure> for TransactionError {
    fn from(failure: HandlerFailure) -> Self {
        match failure.disposition() {
            Disposition::Undecodable => Self::Undecodable(failure.into_error()),
            Disposition::Unhandled => Self::Unhandled(failure.error().to_string()),
            Disposition::Retry | Disposition::Reject | Disposition::Defer(_) => {
                Self::Handler(failure)
            }
        }
    }
}
