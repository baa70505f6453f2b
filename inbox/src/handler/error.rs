//! The error of a handler, and the text of an error with its sources.

use std::{error::Error, fmt, time::Duration};

use postroom_message::errors::chain;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A handler's error, which also decides what happens to the message: another attempt, rejection or
/// deferral.
///
/// `?` converts any error, an `anyhow::Error` or a text into a request for another attempt. The type does
/// not implement [`std::error::Error`], because the conversion from all error types would conflict.
#[derive(Debug)]
pub struct HandlerError {
    disposition: Disposition,
    source: BoxError,
}

/// The further treatment of a message that was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Another attempt may succeed.
    Retry,
    /// No attempt can succeed.
    Reject,
    /// The message is to be handled later, after this wait; `None` leaves the wait to the inbox.
    Defer(Option<Duration>),
    /// The body cannot be decoded as the handler's event.
    Undecodable,
    /// No handler takes the message's type.
    Unhandled,
}

impl HandlerError {
    /// Asks for another attempt. Counts as a failure: the message gets a few attempts before it is parked,
    /// further ones with growing waits, and is dead after the last one.
    ///
    /// Takes an error, a text, or an `anyhow::Error`.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self::new(Disposition::Retry, error)
    }

    /// Rejects the message: it is parked dead at once, and waits for an operator.
    pub fn reject(error: impl Into<BoxError>) -> Self {
        Self::new(Disposition::Reject, error)
    }

    /// Defers the message, because something that it needs does not exist yet.
    ///
    /// A deferral is no failure, and later messages of the key are handled first: the needed one may be
    /// among them. The message is tried again after `wait`, at least 100 ms. After the consumer's
    /// [`max_deferral`](crate::ConsumerBuilder::max_deferral) (default 24 hours) it is parked dead.
    pub fn defer(wait: Duration, reason: impl Into<BoxError>) -> Self {
        Self::new(Disposition::Defer(Some(wait)), reason)
    }

    /// Defers the message as [`HandlerError::defer`] does, for the first wait of
    /// [`backoff_parked`](crate::ConsumerBuilder::backoff_parked) (default 10 seconds).
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
    fn any_error_asks_for_another_attempt_and_shows_its_sources() {
        let error = fails().unwrap_err();
        assert_eq!(error.to_string(), "reading the price list: disk on fire");
        assert_eq!(error.into_parts().0, Disposition::Retry);
    }

    #[test]
    fn an_anyhow_error_and_a_text_convert_into_a_handler_error() {
        fn fails() -> Result<(), HandlerError> {
            Err(anyhow::anyhow!("no stock").context("reserving"))?;
            Ok(())
        }
        assert_eq!(fails().unwrap_err().to_string(), "reserving: no stock");
        assert_eq!(HandlerError::from("no stock").to_string(), "no stock");
    }

    #[test]
    fn a_message_can_be_rejected_with_a_text() {
        let error = HandlerError::reject("no such customer");
        assert_eq!(error.to_string(), "no such customer");
        assert_eq!(error.into_parts().0, Disposition::Reject);
    }
}
