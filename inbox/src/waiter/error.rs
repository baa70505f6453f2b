//! Reasons why a message was not handled in time.

use std::{fmt, time::Duration};

use outbox::MessageId;

/// Error of [`Waiter`](crate::Waiter).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The message was not handled in time. Nothing is lost: it is handled later.
    #[error(
        "consumer {consumer:?} has not handled message {message_id} within {longest:?}: {state}"
    )]
    TimedOut {
        /// Name of the consumer.
        consumer: String,
        /// Id of the message.
        message_id: MessageId,
        /// Longest time of the wait.
        longest: Duration,
        /// State of the message at the last look.
        state: NotHandled,
    },
    /// The message is dead: it is handled only if an operator retries it.
    #[error(
        "consumer {consumer:?} has given up message {message_id}: {reason}; look at inbox.parked, then use inbox.retry or inbox.discard"
    )]
    Dead {
        /// Name of the consumer.
        consumer: String,
        /// Id of the message.
        message_id: MessageId,
        /// Reason of the parking, as in `inbox.parked`.
        reason: String,
    },
}

/// State of a message that is not handled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotHandled {
    /// The consumer has no record of the message: it is on its way, or in the queue.
    NotArrived,
    /// The message waits for another attempt, for the reason of `inbox.parked`.
    Parked(String),
    /// The database could not be asked; the text is the cause.
    Unknown(String),
}

impl fmt::Display for NotHandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotArrived => f.write_str("it is on its way, or in the queue"),
            Self::Parked(reason) => write!(f, "it is parked ({reason})"),
            Self::Unknown(cause) => write!(f, "the database could not be asked: {cause}"),
        }
    }
}
