//! The error of a handler, and the text of an error with its sources.

use std::{any::Any, error::Error, fmt, mem, time::Duration};

use postroom_message::errors::chain;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A handler's error, which also decides what happens to the message: another attempt, rejection or
/// deferral.
///
/// `?` converts any error, an `anyhow::Error` or a text. The consumer's classifiers
/// ([`classify`](crate::ConsumerBuilder::classify)) then choose what happens; without an answer of theirs the message
/// gets another attempt. The functions of this type choose themselves, and no classifier is asked.
///
/// The type does not implement [`std::error::Error`], because the conversion from all error types would conflict.
#[derive(Debug)]
pub struct HandlerError {
    /// `None` if the handler left the choice to the classifiers.
    choice: Option<Disposition>,
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
            choice: Some(disposition),
            source: error.into(),
        }
    }

    /// Returns the disposition that the handler chose, and the error.
    pub(super) fn into_parts(self) -> (Option<Disposition>, BoxError) {
        (self.choice, self.source)
    }
}

impl<E: Into<BoxError> + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self {
            choice: None,
            source: boxed(error),
        }
    }
}

/// Boxes an error so that its type can be found in the box.
///
/// The plain conversion of an `anyhow::Error` hides the type of the error inside.
fn boxed<E: Into<BoxError> + 'static>(mut error: E) -> BoxError {
    let any: &mut dyn Any = &mut error;
    match any.downcast_mut::<anyhow::Error>() {
        Some(error) => mem::replace(error, anyhow::Error::msg(""))
            .reallocate_into_boxed_dyn_error_without_backtrace(),
        None => error.into(),
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
    fn any_error_leaves_the_choice_open_and_shows_its_sources() {
        let error = fails().unwrap_err();
        assert_eq!(error.to_string(), "reading the price list: disk on fire");
        assert_eq!(error.into_parts().0, None);
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
    fn the_error_in_an_anyhow_error_keeps_its_type() {
        let plain = HandlerError::from(anyhow::Error::new(Outer(std::io::Error::other("x"))));
        assert!(plain.into_parts().1.is::<Outer>());
        let text = HandlerError::from(anyhow::anyhow!("no stock"));
        assert_eq!(text.into_parts().1.to_string(), "no stock");
    }

    #[test]
    fn a_message_can_be_rejected_with_a_text() {
        let error = HandlerError::reject("no such customer");
        assert_eq!(error.to_string(), "no such customer");
        assert_eq!(error.into_parts().0, Some(Disposition::Reject));
    }
}
