//! The error of a delivery's transaction.

use std::{error::Error, fmt, time::Duration};

use crate::handler::{BoxError, Disposition, HandlerError};

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

    /// The transaction that the message was to share with others was rolled back, because of any of them, or
    /// began before the message had passed the layers. The message runs again separately.
    #[error(
        "the transaction that the message was to share with others was rolled back, or had begun without it"
    )]
    Shared,

    /// The commit failed, or its outcome is unknown.
    #[error("committing the transaction of a message")]
    Commit(#[source] sqlx::Error),
}

/// A handler's error, as the source of [`TransactionError::Handler`]. Its text and its source are those of
/// the error that the handler returned.
#[derive(Debug)]
pub struct HandlerFailure {
    pub(crate) intent: HandlerIntent,
    error: BoxError,
}

/// The treatment of the message that a handler asked for with its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandlerIntent {
    /// Another attempt.
    Retry,
    /// No further attempt: the message is parked dead.
    Reject,
    /// An attempt after this wait; `None` leaves the wait to the inbox.
    Defer(Option<Duration>),
}

impl HandlerFailure {
    /// Returns `true` if the handler failed and asks for another attempt.
    pub const fn is_retry(&self) -> bool {
        matches!(self.intent, HandlerIntent::Retry)
    }

    /// Returns `true` if the handler rejected the message.
    pub const fn is_rejection(&self) -> bool {
        matches!(self.intent, HandlerIntent::Reject)
    }

    /// Returns `true` if the handler deferred the message, which is no failure.
    pub const fn is_deferral(&self) -> bool {
        matches!(self.intent, HandlerIntent::Defer(_))
    }

    /// Returns the error that the handler returned.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.error.as_ref()
    }
}

impl fmt::Display for HandlerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for HandlerFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl From<HandlerError> for TransactionError {
    fn from(error: HandlerError) -> Self {
        let (disposition, error) = error.into_parts();
        let intent = match disposition {
            Disposition::Retry => HandlerIntent::Retry,
            Disposition::Reject => HandlerIntent::Reject,
            Disposition::Defer(wait) => HandlerIntent::Defer(wait),
            Disposition::Undecodable => return Self::Undecodable(error),
            Disposition::Unhandled => return Self::Unhandled(error.to_string()),
        };
        Self::Handler(HandlerFailure { intent, error })
    }
}
