//! Classification of the error of an attempt at a delivery.

use std::time::Duration;

use postroom_message::errors::{chain, sources};

use super::clip;
use crate::{Reason, TransactionError, handler::Disposition, server_error};

/// The meaning of an attempt's error for the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// The database cannot be used. The message is not the cause, so the number of retries is unlimited.
    Unavailable,
    /// A conflict with another transaction, a lost connection, or a statement that was prepared before a
    /// table was changed. The delivery runs again; no failure is counted.
    Rerun,
    /// The handler failed.
    Failed,
    /// The handler deferred the message, for this wait; `None` leaves the wait to the inbox.
    Deferred(Option<Duration>),
    /// The message is from the future, and is to be handled after this wait.
    Early(Duration),
    /// The message can never be handled.
    Permanent(Reason),
    /// The handler ended the transaction itself. Another attempt could repeat work that it committed.
    Ended,
}

impl ErrorClass {
    /// Classifies a transaction's error.
    pub(crate) fn of(error: &TransactionError) -> Self {
        match error {
            TransactionError::Unavailable(_) if server_error::is_rerun(error) => Self::Rerun,
            TransactionError::Unavailable(_) => Self::Unavailable,
            TransactionError::NoId => Self::Permanent(Reason::NoId),
            TransactionError::Stale(_) => Self::Permanent(Reason::Stale),
            TransactionError::Future(_) => Self::Permanent(Reason::Future),
            TransactionError::Early(_, wait) => Self::Early(*wait),
            TransactionError::Undecodable(_) => Self::Permanent(Reason::Undecodable),
            TransactionError::Unhandled(_) => Self::Permanent(Reason::Unhandled),
            TransactionError::Handler(failure) => match failure.disposition() {
                Disposition::Retry if server_error::is_rerun(failure.error()) => Self::Rerun,
                Disposition::Retry => Self::Failed,
                Disposition::Defer(wait) => Self::Deferred(wait),
                Disposition::Reject => Self::Permanent(Reason::Rejected),
                Disposition::Undecodable => Self::Permanent(Reason::Undecodable),
                Disposition::Unhandled => Self::Permanent(Reason::Unhandled),
            },
            TransactionError::Panicked(_)
            | TransactionError::TimedOut(_)
            | TransactionError::Leaked
            | TransactionError::Aborted(_) => Self::Failed,
            TransactionError::Ended => Self::Ended,
            TransactionError::Lost(_) => Self::Rerun,
            // A deferred constraint can fail at COMMIT. Any other error leaves the outcome unknown: the
            // rerun finds the record if the transaction has committed.
            TransactionError::Commit(source) => match source.as_database_error() {
                Some(refused)
                    if !server_error::is_conflict(refused)
                        && !server_error::ends_session(refused) =>
                {
                    Self::Failed
                }
                _ => Self::Rerun,
            },
        }
    }
}

/// An attempt's error: its class and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) class: ErrorClass,
    /// Text of the error and of its sources.
    pub(crate) text: String,
}

impl Fault {
    /// Classifies a transaction's error.
    pub(crate) fn of(error: &TransactionError) -> Self {
        let class = ErrorClass::of(error);
        let advice = sources(error)
            .filter(|_| class == ErrorClass::Unavailable)
            .find_map(|source| server_error::advice(source.downcast_ref()?));
        let text = match advice {
            Some(advice) => format!("{}; {advice}", chain(error)),
            None => chain(error),
        };
        Self {
            class,
            text: clip(text),
        }
    }

    /// Creates the fault for a failure outside the transaction, such as a panic in an admission layer.
    pub(crate) fn outside(text: String) -> Self {
        Self {
            class: ErrorClass::Failed,
            text: clip(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ErrorClass, Fault};
    use crate::{HandlerError, Reason, TransactionError};

    fn handler(error: HandlerError) -> ErrorClass {
        ErrorClass::of(&error.into())
    }

    #[test]
    fn a_handler_error_keeps_its_meaning() {
        assert_eq!(handler(HandlerError::retry("x")), ErrorClass::Failed);
        assert_eq!(
            handler(HandlerError::reject("x")),
            ErrorClass::Permanent(Reason::Rejected)
        );
        let minute = Duration::from_mins(1);
        assert_eq!(
            handler(HandlerError::defer(minute, "x")),
            ErrorClass::Deferred(Some(minute))
        );
        assert_eq!(
            handler(HandlerError::not_yet("x")),
            ErrorClass::Deferred(None)
        );
    }

    #[test]
    fn an_unavailable_database_counts_as_no_failure() {
        let unavailable = || sqlx::Error::PoolTimedOut;
        assert_eq!(
            ErrorClass::of(&TransactionError::Unavailable(unavailable())),
            ErrorClass::Unavailable
        );
        assert_eq!(
            ErrorClass::of(&TransactionError::Lost(unavailable())),
            ErrorClass::Rerun
        );
        assert_eq!(
            ErrorClass::of(&TransactionError::Commit(unavailable())),
            ErrorClass::Rerun
        );
        // The handler may have used another database, so this error is a failure.
        assert_eq!(handler(unavailable().into()), ErrorClass::Failed);
    }

    #[test]
    fn a_long_text_is_truncated_and_made_storable() {
        let fault = Fault::outside(format!("\0{}", "ä".repeat(10_000)));
        assert!(fault.text.len() < 9_000);
        assert!(!fault.text.contains('\0'));
    }
}
