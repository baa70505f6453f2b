//! All extractors of a handler, as a tuple.

use super::{FromDelivery, FromState};
use crate::{Delivery, HandlerError, handler::arity::each_arity};

macro_rules! implement_extractors {
    ($($T:ident)*) => {
        #[allow(unused_variables, reason = "the empty tuple needs none")]
        impl<S, $($T: FromDelivery<S>,)*> FromDelivery<S> for ($($T,)*) {
            type Rejection = HandlerError;

            fn from_delivery(delivery: &Delivery, state: &S) -> Result<Self, HandlerError> {
                Ok(($($T::from_delivery(delivery, state).map_err(Into::into)?,)*))
            }
        }

        #[allow(unused_variables, reason = "the empty tuple needs none")]
        #[allow(clippy::unused_unit, reason = "the empty tuple")]
        impl<S, $($T: FromState<S>,)*> FromState<S> for ($($T,)*) {
            fn from_state(state: &S) -> Self {
                ($($T::from_state(state),)*)
            }
        }
    };
}

each_arity!(implement_extractors);
