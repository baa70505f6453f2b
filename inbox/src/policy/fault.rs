//! What an attempt's error means.

use std::{error::Error, time::Duration};

use crate::{
    Reason,
    handler::{chain, sources},
    sql,
    transaction::{HandlerIntent, TransactionError},
};

/// Most bytes of an error's text that are kept.
const ERROR_BYTES: usize = 8 * 1024;

/// What an attempt's error means for the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// Nobody could be asked. Says nothing about the message; tried again without limit.
    Unavailable,
    /// A conflict with another transaction, a lost connection, or a statement that was prepared before a table
    /// was changed: run again, no failure.
    Rerun,
    /// The message was to share a transaction, and has to run by itself: no failure.
    Alone,
    /// The handler failed.
    Failed,
    /// The handler put the message off.
    Deferred(Option<Duration>),
    /// The message cannot be handled.
    Hopeless(Reason),
    /// The handler ended the transaction itself. Trying again would do what it committed once more.
    Ended,
}

impl ErrorClass {
    /// Returns what a transaction's error means.
    pub(crate) fn of(error: &TransactionError) -> Self {
        match error {
            TransactionError::Unavailable(_) if conflicts(error) => Self::Rerun,
            TransactionError::Unavailable(_) => Self::Unavailable,
            TransactionError::NoId => Self::Hopeless(Reason::NoId),
            TransactionError::Stale => Self::Hopeless(Reason::Stale),
            TransactionError::Future => Self::Hopeless(Reason::Future),
            TransactionError::Undecodable(_) => Self::Hopeless(Reason::Undecodable),
            TransactionError::Unhandled(_) => Self::Hopeless(Reason::Unhandled),
            TransactionError::Handler(failure) => match failure.intent {
                HandlerIntent::Retry if conflicts(failure.error()) => Self::Rerun,
                HandlerIntent::Retry => Self::Failed,
                HandlerIntent::Defer(wait) => Self::Deferred(wait),
                HandlerIntent::Reject => Self::Hopeless(Reason::Rejected),
            },
            TransactionError::Panicked(_)
            | TransactionError::TimedOut(_)
            | TransactionError::Leaked
            | TransactionError::Aborted(_) => Self::Failed,
            TransactionError::Ended => Self::Ended,
            TransactionError::Lost(_) => Self::Rerun,
            TransactionError::Shared => Self::Alone,
            // A deferred constraint speaks at COMMIT; anything else leaves the outcome unknown, and
            // the record decides on the rerun.
            TransactionError::Commit(source) => match source.as_database_error() {
                Some(refused) if !sql::is_conflict(refused) && !sql::has_ended(refused) => {
                    Self::Failed
                }
                _ => Self::Rerun,
            },
        }
    }
}

/// The error of an attempt, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) class: ErrorClass,
    /// Text of the error and of its causes.
    pub(crate) text: String,
}

impl Fault {
    /// Reads the error of the services around a handler. What the transaction's error meant was `seen`, if it
    /// failed: an error of a layer's may have it among its sources, or hide it.
    pub(crate) fn read(error: &(dyn Error + 'static), seen: Option<ErrorClass>) -> Self {
        let shown = sources(error).find_map(|source| source.downcast_ref::<TransactionError>());
        let class = shown
            .map(ErrorClass::of)
            .or(seen)
            .unwrap_or(ErrorClass::Failed);
        let advice = sources(error)
            .filter(|_| class == ErrorClass::Unavailable)
            .find_map(|source| sql::advice(source.downcast_ref()?));
        let text = match advice {
            Some(advice) => format!("{}; {advice}", chain(error)),
            None => chain(error),
        };
        Self {
            class,
            text: clip(text),
        }
    }

    /// Makes the fault of a layer that answered for a parked delivery, which never came to the inbox.
    pub(crate) fn kept_away() -> Self {
        Self {
            class: ErrorClass::Failed,
            text: "a layer around the handler answered itself, or passed on a delivery that it had made: use Delivery::with_body, and inbox.discard for a parked message that nobody is to handle".to_owned(),
        }
    }

    /// Makes the fault of a panic outside the transaction, in a layer of the user's.
    pub(crate) fn panicked(text: &str) -> Self {
        Self {
            class: ErrorClass::Failed,
            text: clip(format!("a layer around the handler panicked: {text}")),
        }
    }
}

/// Whether the transaction is to be run again, through no fault of the handler's.
fn conflicts(error: &(dyn Error + 'static)) -> bool {
    sql::refusals(error).any(|refusal| sql::is_conflict(refusal) || sql::is_outdated(refusal))
}

fn clip(mut text: String) -> String {
    if text.len() > ERROR_BYTES {
        text.truncate(text.floor_char_boundary(ERROR_BYTES));
        text.push('…');
    }
    if text.contains('\0') {
        text = text.replace('\0', "\u{FFFD}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ErrorClass, Fault};
    use crate::{HandlerError, Reason, transaction::TransactionError};

    fn handler(error: HandlerError) -> ErrorClass {
        ErrorClass::of(&error.into())
    }

    #[test]
    fn handlers_say_what_they_mean() {
        assert_eq!(handler(HandlerError::retry("x")), ErrorClass::Failed);
        assert_eq!(
            handler(HandlerError::reject("x")),
            ErrorClass::Hopeless(Reason::Rejected)
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
    fn a_database_that_is_away_says_nothing_about_the_message() {
        let away = || sqlx::Error::PoolTimedOut;
        assert_eq!(
            ErrorClass::of(&TransactionError::Unavailable(away())),
            ErrorClass::Unavailable
        );
        assert_eq!(
            ErrorClass::of(&TransactionError::Lost(away())),
            ErrorClass::Rerun
        );
        assert_eq!(
            ErrorClass::of(&TransactionError::Commit(away())),
            ErrorClass::Rerun
        );
        assert_eq!(ErrorClass::of(&TransactionError::Shared), ErrorClass::Alone);
        // The handler's own pool may be another database's.
        assert_eq!(handler(away().into()), ErrorClass::Failed);
    }

    #[test]
    fn layers_may_wrap_errors_or_make_their_own() {
        #[derive(Debug, thiserror::Error)]
        #[error("wrapped")]
        struct Wrapped(#[source] TransactionError);
        let wrapped = Fault::read(&Wrapped(TransactionError::Stale), None);
        assert_eq!(wrapped.class, ErrorClass::Hopeless(Reason::Stale));
        assert!(wrapped.text.starts_with("wrapped: the message is older"));
        let own = std::io::Error::other("rate limited");
        assert_eq!(Fault::read(&own, None).class, ErrorClass::Failed);
        let seen = ErrorClass::Hopeless(Reason::Stale);
        assert_eq!(Fault::read(&own, Some(seen)).class, seen);
    }

    #[test]
    fn long_texts_are_clipped_and_made_storable() {
        let fault = Fault::panicked(&format!("\0{}", "ä".repeat(10_000)));
        assert!(fault.text.len() < 9_000);
        assert!(!fault.text.contains('\0'));
    }
}
