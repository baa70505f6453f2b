//! How a handler says that it failed.

use std::{error::Error, fmt, time::Duration};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Why a handler failed, and what is to become of the message.
///
/// Made by `?` from any error, an `anyhow::Error` or a text, which asks for another attempt. Does not
/// implement [`std::error::Error`] itself; that is what makes the conversion possible.
#[derive(Debug)]
pub struct HandlerError {
    disposition: Disposition,
    source: BoxError,
}

/// What is to become of a message that was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Another attempt may succeed.
    Retry,
    /// No attempt can succeed.
    Reject,
    /// Its time has not come; `None` leaves the wait to the inbox.
    Defer(Option<Duration>),
    /// The body is not the event's.
    Undecodable,
    /// No handler takes its type.
    Unhandled,
}

impl HandlerError {
    /// Asks for another attempt: a few at once, then with growing waits, then by an operator.
    ///
    /// Takes an error, a text, or an `anyhow::Error`.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self::new(Disposition::Retry, error)
    }

    /// Gives the message up at once: it is parked dead, for an operator.
    pub fn reject(error: impl Into<BoxError>) -> Self {
        Self::new(Disposition::Reject, error)
    }

    /// Puts the message off: something it needs is not there yet.
    ///
    /// Counts as no failure, and lets later messages of the key go first: the one it waits for
    /// may be among them. Tried again after `wait`, at least 100 ms; after the consumer's greatest deferral
    /// (default 24 hours) it is parked dead.
    pub fn defer(wait: Duration, reason: impl Into<BoxError>) -> Self {
        Self::new(Disposition::Defer(Some(wait)), reason)
    }

    /// Puts the message off as [`HandlerError::defer`] does, for the wait after a first failure.
    pub fn not_yet(reason: impl Into<BoxError>) -> Self {
        Self::new(Disposition::Defer(None), reason)
    }

    pub(crate) fn new(disposition: Disposition, error: impl Into<BoxError>) -> Self {
        Self {
            disposition,
            source: error.into(),
        }
    }

    pub(crate) fn into_parts(self) -> (Disposition, BoxError) {
        (self.disposition, self.source)
    }
}

impl<E: Into<BoxError>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.source.as_ref()))
    }
}

/// Returns an error and its sources.
pub(crate) fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Not through `impl Error for &T`, whose source would live no longer than the closure's borrow.
    std::iter::successors(Some(error), |error| (**error).source())
}

/// Returns the texts of an error and of its sources, joined by `: `.
///
/// A source whose text its error repeats at its end is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Disposition, HandlerError};

    #[derive(Debug, thiserror::Error)]
    #[error("reading the price list")]
    struct Outer(#[source] std::io::Error);

    fn fails() -> Result<(), HandlerError> {
        Err(Outer(std::io::Error::other("disk on fire")))?;
        Ok(())
    }

    #[test]
    fn any_error_asks_for_another_attempt_and_shows_its_chain() {
        let error = fails().unwrap_err();
        assert_eq!(error.to_string(), "reading the price list: disk on fire");
        assert_eq!(error.into_parts().0, Disposition::Retry);
    }

    #[test]
    fn what_converts_into_an_error_is_one() {
        fn fails() -> Result<(), HandlerError> {
            Err(anyhow::anyhow!("no stock").context("reserving"))?;
            Ok(())
        }
        assert_eq!(fails().unwrap_err().to_string(), "reserving: no stock");
        assert_eq!(HandlerError::from("no stock").to_string(), "no stock");
    }

    #[test]
    fn texts_are_errors_too() {
        let error = HandlerError::reject("no such customer");
        assert_eq!(error.to_string(), "no such customer");
        assert_eq!(error.into_parts().0, Disposition::Reject);
    }
}
