//! A handler's error as the layers around the handler see it.

use std::{error::Error, fmt};

use postroom_message::errors::sources;

use super::{BoxError, Disposition, HandlerError};

/// A handler's error as a standard error, with the further treatment that the handler asked for.
///
/// Layers around the handlers receive this error; it is also the source of [`TransactionError::Handler`]. Its
/// text and its source are those of the error that the handler returned. A layer rejects or defers a message
/// with a failure of its own, made from a [`HandlerError`].
///
/// [`TransactionError::Handler`]: crate::TransactionError::Handler
#[derive(Debug)]
pub struct HandlerFailure {
    disposition: Disposition,
    error: BoxError,
}

impl HandlerFailure {
    /// Returns `true` if the handler failed and asks for another attempt.
    pub const fn is_retry(&self) -> bool {
        matches!(self.disposition, Disposition::Retry)
    }

    /// Returns `true` if the handler rejected the message.
    pub const fn is_rejection(&self) -> bool {
        matches!(self.disposition, Disposition::Reject)
    }

    /// Returns `true` if the handler deferred the message, which is no failure.
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

    pub(crate) fn into_error(self) -> BoxError {
        self.error
    }
}

/// Keeps the treatment that a [`HandlerFailure`] among the error's sources asked for, since a layer may have
/// wrapped the failure of a handler.
impl From<HandlerError> for HandlerFailure {
    fn from(error: HandlerError) -> Self {
        let (disposition, error) = error.into_parts();
        if disposition != Disposition::Retry {
            return Self { disposition, error };
        }
        match error.downcast::<Self>() {
            Ok(failure) => *failure,
            Err(error) => {
                let wrapped = sources(error.as_ref()).find_map(|source| source.downcast_ref());
                let disposition = wrapped.map_or(Disposition::Retry, Self::disposition);
                Self { disposition, error }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::{BoxError, HandlerFailure};
    use crate::HandlerError;

    #[derive(Debug, thiserror::Error)]
    #[error("in the layer")]
    struct Wrapped(#[source] BoxError);

    #[test]
    fn a_layer_that_wraps_a_failure_keeps_its_treatment() {
        let rejected = || HandlerFailure::from(HandlerError::reject("never"));
        let unchanged = HandlerFailure::from(HandlerError::from(rejected()));
        assert!(unchanged.is_rejection());
        let wrapped = HandlerFailure::from(HandlerError::from(Wrapped(rejected().into())));
        assert!(wrapped.is_rejection());
        assert_eq!(wrapped.to_string(), "in the layer");
    }

    #[test]
    fn an_error_of_a_layer_asks_for_another_attempt() {
        let own = HandlerError::from(std::io::Error::other("too busy"));
        assert!(HandlerFailure::from(own).is_retry());
    }
}
