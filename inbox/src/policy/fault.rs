//! What an attempt's error means.

use std::{error::Error, time::Duration};

use sqlx::error::DatabaseError;

use crate::{
    Reason,
    handler::{Disposition, chain},
    sql,
    transaction::TransactionError,
};

/// Most bytes of an error's text that are kept.
const ERROR_BYTES: usize = 8 * 1024;

/// What an attempt's error means for the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Nobody could be asked. Says nothing about the message; tried again without limit.
    Unavailable,
    /// A conflict with another transaction, or a lost connection: run again, no failure.
    Rerun,
    /// The handler failed.
    Failed,
    /// The handler put the message off.
    Deferred(Option<Duration>),
    /// The message cannot be handled.
    Hopeless(Reason),
    /// The handler ended the transaction itself. Trying again would do what it committed once more.
    Ended,
}

/// The error of an attempt, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) meaning: Meaning,
    /// Text of the error and of its causes.
    pub(crate) text: String,
}

impl Fault {
    /// Reads the error of the services around a handler.
    pub(crate) fn read(error: &(dyn Error + 'static)) -> Self {
        let meaning = sources(error)
            .find_map(|source| source.downcast_ref::<TransactionError>())
            .map_or(Meaning::Failed, meaning);
        let advice = sources(error)
            .filter(|_| meaning == Meaning::Unavailable)
            .find_map(|source| sql::advice(source.downcast_ref()?));
        let text = match advice {
            Some(advice) => format!("{}; {advice}", chain(error)),
            None => chain(error),
        };
        Self {
            meaning,
            text: clip(text),
        }
    }

    /// Makes the fault of a layer that passed on another delivery than the parked one it was given.
    pub(crate) fn made_anew() -> Self {
        Self {
            meaning: Meaning::Failed,
            text: "a layer made a new delivery of this one, which is taken for a duplicate; use Delivery::with_body".to_owned(),
        }
    }

    /// Makes the fault of a panic outside the transaction, in a layer of the user's.
    pub(crate) fn panicked(text: &str) -> Self {
        Self {
            meaning: Meaning::Failed,
            text: clip(format!("a layer around the handler panicked: {text}")),
        }
    }
}

fn meaning(error: &TransactionError) -> Meaning {
    match error {
        TransactionError::Unavailable(_) if conflicts(error) => Meaning::Rerun,
        TransactionError::Unavailable(_) => Meaning::Unavailable,
        TransactionError::NoId => Meaning::Hopeless(Reason::NoId),
        TransactionError::Stale => Meaning::Hopeless(Reason::Stale),
        TransactionError::Future => Meaning::Hopeless(Reason::Future),
        TransactionError::Handler(failure) => match failure.disposition {
            Disposition::Retry if conflicts(error) => Meaning::Rerun,
            Disposition::Retry => Meaning::Failed,
            Disposition::Defer(wait) => Meaning::Deferred(wait),
            Disposition::Reject => Meaning::Hopeless(Reason::Rejected),
            Disposition::Undecodable => Meaning::Hopeless(Reason::Undecodable),
            Disposition::Unhandled => Meaning::Hopeless(Reason::Unhandled),
        },
        TransactionError::Panicked(_)
        | TransactionError::TimedOut(_)
        | TransactionError::Leaked
        | TransactionError::Aborted(_) => Meaning::Failed,
        TransactionError::Ended => Meaning::Ended,
        TransactionError::Lost(_) | TransactionError::Shared => Meaning::Rerun,
        // A deferred constraint speaks at COMMIT; anything else leaves the outcome unknown, and
        // the record decides on the rerun.
        TransactionError::Commit(source) => match source.as_database_error() {
            Some(refused) if !conflict(refused) && !sql::has_ended(refused) => Meaning::Failed,
            _ => Meaning::Rerun,
        },
    }
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Not through `impl Error for &T`, whose source would live no longer than the closure's borrow.
    std::iter::successors(Some(error), |error| (**error).source())
}

/// Returns whether PostgreSQL asks for the transaction to be run again.
fn conflicts(error: &(dyn Error + 'static)) -> bool {
    sources(error)
        .filter_map(|source| source.downcast_ref::<sqlx::Error>())
        .filter_map(sqlx::Error::as_database_error)
        .any(conflict)
}

fn conflict(error: &(dyn DatabaseError + 'static)) -> bool {
    // serialization_failure, deadlock_detected
    matches!(error.code().as_deref(), Some("40001" | "40P01"))
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

    use super::{Fault, Meaning};
    use crate::{HandlerError, Reason, transaction::TransactionError};

    fn handler(error: HandlerError) -> Meaning {
        Fault::read(&TransactionError::Handler(error.into())).meaning
    }

    #[test]
    fn handlers_say_what_they_mean() {
        assert_eq!(handler(HandlerError::retry("x")), Meaning::Failed);
        assert_eq!(
            handler(HandlerError::reject("x")),
            Meaning::Hopeless(Reason::Rejected)
        );
        let minute = Duration::from_mins(1);
        assert_eq!(
            handler(HandlerError::defer(minute, "x")),
            Meaning::Deferred(Some(minute))
        );
        assert_eq!(handler(HandlerError::not_yet("x")), Meaning::Deferred(None));
    }

    #[test]
    fn a_database_that_is_away_says_nothing_about_the_message() {
        let away = || sqlx::Error::PoolTimedOut;
        assert_eq!(
            Fault::read(&TransactionError::Unavailable(away())).meaning,
            Meaning::Unavailable
        );
        assert_eq!(
            Fault::read(&TransactionError::Lost(away())).meaning,
            Meaning::Rerun
        );
        assert_eq!(
            Fault::read(&TransactionError::Commit(away())).meaning,
            Meaning::Rerun
        );
        // The handler's own pool may be another database's.
        assert_eq!(handler(away().into()), Meaning::Failed);
    }

    #[test]
    fn layers_may_wrap_errors_or_make_their_own() {
        #[derive(Debug, thiserror::Error)]
        #[error("wrapped")]
        struct Wrapped(#[source] TransactionError);
        let wrapped = Fault::read(&Wrapped(TransactionError::Stale));
        assert_eq!(wrapped.meaning, Meaning::Hopeless(Reason::Stale));
        assert!(wrapped.text.starts_with("wrapped: the message is older"));
        let own = Fault::read(&std::io::Error::other("rate limited"));
        assert_eq!(own.meaning, Meaning::Failed);
    }

    #[test]
    fn long_texts_are_clipped_and_made_storable() {
        let fault = Fault::panicked(&format!("\0{}", "ä".repeat(10_000)));
        assert!(fault.text.len() < 9_000);
        assert!(!fault.text.contains('\0'));
    }
}
