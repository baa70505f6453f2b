//! A handler's error as the layers around the handler see it.

use std::{error::Error, fmt};

use postroom_message::errors::sources;

use super::{BoxError, Disposition, Fates, HandlerError};

/// A handler's error as a standard error, with the further treatment that the handler or the service's classifiers
/// ([`ConsumerBuilder::classify`]) asked for.
///
/// Layers around the handlers receive this error; it is also the value of [`TransactionError::Handler`]. Its text
/// says whether the handler failed, rejected or deferred the message; its source is the error that the handler
/// returned. A layer rejects or defers a message with a failure of its own, made from a [`HandlerError`].
///
/// [`ConsumerBuilder::classify`]: crate::ConsumerBuilder::classify
/// [`TransactionError::Handler`]: crate::TransactionError::Handler
#[derive(Debug)]
pub struct HandlerFailure {
    disposition: Disposition,
    /// `true` if the handler chose the disposition itself, with a function of [`HandlerError`].
    is_explicit: bool,
    error: BoxError,
}

impl HandlerFailure {
    /// Creates the failure for an error. Errors for which the handler chose no disposition get that of `fates`.
    ///
    /// Keeps the treatment that a failure among the error's sources asked for, since a layer may have wrapped the
    /// failure of a handler.
    pub(crate) fn new(error: HandlerError, fates: &Fates) -> Self {
        let (choice, error) = error.into_parts();
        if let Some(disposition) = choice {
            return Self {
                disposition,
                is_explicit: true,
                error,
            };
        }
        match error.downcast::<Self>() {
            Ok(failure) => *failure,
            Err(error) => {
                let wrapped = sources(error.as_ref()).find_map(|source| source.downcast_ref());
                let (disposition, is_explicit) = match wrapped {
                    Some(Self {
                        disposition,
                        is_explicit,
                        ..
                    }) => (*disposition, *is_explicit),
                    None => (fates.disposition(error.as_ref()), false),
                };
                Self {
                    disposition,
                    is_explicit,
                    error,
                }
            }
        }
    }

    /// Returns `true` if the handler failed and the message gets another attempt.
    pub const fn is_retry(&self) -> bool {
        matches!(self.disposition, Disposition::Retry)
    }

    /// Returns `true` if the message is rejected.
    pub const fn is_rejection(&self) -> bool {
        matches!(self.disposition, Disposition::Reject)
    }

    /// Returns `true` if the message is deferred, which is no failure.
    pub const fn is_deferral(&self) -> bool {
        matches!(self.disposition, Disposition::Defer(_))
    }

    /// Returns the error that the handler returned.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.error.as_ref()
    }

    pub(crate) const fn disposition(&self) -> Disposition {
        self.disposition
    }

    /// Returns `true` if a lost connection explains the failure better than the message does: the handler asked for
    /// another attempt, or asked for nothing itself.
    pub(crate) const fn may_be_lost_connection(&self) -> bool {
        self.is_retry() || !self.is_explicit
    }

    pub(crate) fn into_error(self) -> BoxError {
        self.error
    }
}

/// Without classifiers: an error for which the handler chose nothing asks for another attempt.
impl From<HandlerError> for HandlerFailure {
    fn from(error: HandlerError) -> Self {
        Self::new(error, &Fates::default())
    }
}

impl fmt::Display for HandlerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.disposition {
            Disposition::Retry => "the handler failed",
            Disposition::Reject => "the handler rejected the message",
            Disposition::Defer(_) => "the handler deferred the message",
            Disposition::Undecodable => "the body could not be read as the event of its type",
            Disposition::Unhandled => "the message has no handler",
        })
    }
}

impl Error for HandlerFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.error.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use postroom_message::errors::sources;

    use super::{BoxError, HandlerFailure};
    use crate::{Fate, HandlerError, handler::Fates};

    #[derive(Debug, thiserror::Error)]
    #[error("in the layer")]
    struct Wrapped(#[source] BoxError);

    fn rejecting() -> Fates {
        let mut fates = Fates::default();
        fates.add(|error| error.is::<std::io::Error>().then_some(Fate::Reject));
        fates
    }

    #[test]
    fn a_layer_that_wraps_a_failure_keeps_its_treatment() {
        let rejected = || HandlerFailure::from(HandlerError::reject("never"));
        let unchanged = HandlerFailure::from(HandlerError::from(rejected()));
        assert!(unchanged.is_rejection());
        let wrapped = HandlerFailure::from(HandlerError::from(Wrapped(rejected().into())));
        assert!(wrapped.is_rejection());
        assert_eq!(wrapped.error().to_string(), "in the layer");
    }

    #[test]
    fn an_error_of_a_layer_asks_for_another_attempt() {
        let own = HandlerError::from(std::io::Error::other("too busy"));
        assert!(HandlerFailure::from(own).is_retry());
    }

    #[test]
    fn the_source_is_the_error_and_no_text_is_repeated() {
        let error = Wrapped(std::io::Error::other("disk on fire").into());
        let failure = HandlerFailure::from(HandlerError::from(error));
        let texts: Vec<String> = sources(&failure).map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["the handler failed", "in the layer", "disk on fire"]
        );
        assert!(sources(&failure).any(<dyn Error>::is::<Wrapped>));
    }

    #[test]
    fn classifiers_choose_where_the_handler_does_not() {
        let error = || std::io::Error::other("no such customer");
        let classified = HandlerFailure::new(error().into(), &rejecting());
        assert!(classified.is_rejection());
        let explicit = HandlerFailure::new(HandlerError::retry(error()), &rejecting());
        assert!(explicit.is_retry());
    }

    #[test]
    fn a_wrapped_failure_is_not_classified_again() {
        let retried = HandlerFailure::from(HandlerError::retry(std::io::Error::other("busy")));
        let wrapped = HandlerFailure::new(Wrapped(retried.into()).into(), &rejecting());
        assert!(wrapped.is_retry());
    }

    #[test]
    fn a_lost_connection_may_explain_all_but_what_the_handler_chose() {
        let error = || std::io::Error::other("broken pipe");
        let may =
            |error: HandlerError| HandlerFailure::new(error, &rejecting()).may_be_lost_connection();
        assert!(may(error().into()) && may(HandlerError::retry(error())));
        assert!(!may(HandlerError::reject(error())));
    }
}
