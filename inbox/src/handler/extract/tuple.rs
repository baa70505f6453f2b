//! All extractors of a handler, as a tuple.

use super::{FromDelivery, FromState};
use crate::{Delivery, HandlerError, handler::arity::each_arity};

/// The extractors of a handler: a tuple of up to eight [`FromDelivery`].
pub trait Extractors<S>: Sized {
    /// Makes the values, in the order of the handler's arguments.
    ///
    /// # Errors
    /// Fails with the first error of an extractor.
    fn extract(delivery: &Delivery, state: &S) -> Result<Self, HandlerError>;
}

/// The extractors of a batch handler: a tuple of up to eight [`FromState`].
pub trait BatchExtractors<S>: Sized {
    /// Makes the values, in the order of the handler's arguments.
    fn extract(state: &S) -> Self;
}

macro_rules! implement_extractors {
    ($($T:ident)*) => {
        #[allow(unused_variables, reason = "the empty tuple needs none")]
        impl<S, $($T: FromDelivery<S>,)*> Extractors<S> for ($($T,)*) {
            fn extract(delivery: &Delivery, state: &S) -> Result<Self, HandlerError> {
                Ok(($($T::from_delivery(delivery, state).map_err(Into::into)?,)*))
            }
        }

        #[allow(unused_variables, reason = "the empty tuple needs none")]
        #[allow(clippy::unused_unit, reason = "the empty tuple")]
        impl<S, $($T: FromState<S>,)*> BatchExtractors<S> for ($($T,)*) {
            fn extract(state: &S) -> Self {
                ($($T::from_state(state),)*)
            }
        }
    };
}

each_arity!(implement_extractors);
