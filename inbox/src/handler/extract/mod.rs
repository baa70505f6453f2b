//! Extractors: what a handler takes between its context and its event.
//!
//! A handler takes up to eight of them, in any order. Each is made from the message or from the consumer's state
//! before the handler is called:
//!
//! | Extractor | Value | If the message has none |
//! |---|---|---|
//! | [`State<T>`](State) | the state of [`with_state`](crate::ConsumerBuilder::with_state), or a part of it | |
//! | [`Id`] | id of the message | rejected, or `None` |
//! | [`CorrelationId`] | id shared by all messages of one business process | rejected, or `None` |
//! | [`CausationId`] | id of the message that caused this one | rejected, or `None` |
//! | [`OrderingKey`] | key by which the message is ordered | rejected, or `None` |
//! | [`OccurredAt`] | time of writing by the clock of the publisher's database | rejected, or `None` |
//! | [`Headers`] | the publisher's own headers | empty |
//! | [`Body`] | the body as bytes | empty |
//! | [`Attempt`] | number of this attempt, from 1 | |
//! | [`Incoming`] | all properties and headers, without the body | |
//! | [`Delivery`] | the same and the body, cheap to take | |
//!
//! A message that lacks a property is rejected, because no further attempt can find it: the message is parked dead,
//! and its error names the property ([`MissingProperty`]). Where publishers may leave the property out, take an
//! `Option`:
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize)]
//! # struct OrderPlaced { id: i64 }
//! use inbox::{
//!     Context, HandlerError,
//!     extract::{CorrelationId, OrderingKey},
//! };
//!
//! async fn trace(
//!     _: Context,
//!     OrderingKey(customer): OrderingKey,
//!     process: Option<CorrelationId>,
//!     order: OrderPlaced,
//! ) -> Result<(), HandlerError> {
//!     let process = process.map(|CorrelationId(id)| id);
//!     tracing::info!(customer, process, order.id);
//!     Ok(())
//! }
//! ```
//!
//! A service adds its own extractors by [`FromDelivery`].

mod property;
mod state;
mod tuple;

pub use postroom_message::{Headers, Incoming};
pub use property::{
    Attempt, Body, CausationId, CorrelationId, Id, MissingProperty, OccurredAt, OrderingKey,
};
pub use state::{FromRef, FromState, State};
pub use tuple::{BatchExtractors, Extractors};

pub use crate::Delivery;
use crate::HandlerError;

/// A value that a handler takes between its context and its event, made from the message and from the consumer's
/// state `S`.
///
/// ```
/// use inbox::{Delivery, HandlerError, extract::FromDelivery};
///
/// /// Tenant that the header `tenant` names.
/// struct Tenant(String);
///
/// impl<S> FromDelivery<S> for Tenant {
///     type Rejection = HandlerError;
///
///     fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, HandlerError> {
///         let tenant = delivery.message().headers.text("tenant");
///         let tenant = tenant.ok_or_else(|| HandlerError::reject("the message names no tenant"))?;
///         Ok(Self(tenant.to_owned()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}` before its event, if the consumer's state is `{S}`",
    label = "not an extractor",
    note = "a handler takes its context first, then extractors, and its event last",
    note = "the extractors are in `inbox::extract`; add one by implementing `inbox::extract::FromDelivery`"
)]
pub trait FromDelivery<S>: Sized {
    /// The error, which also decides what happens to the message. A [`HandlerError`] decides itself; any other error
    /// has the fate that [`classify`](crate::ConsumerBuilder::classify) gives it, as a handler's error has.
    type Rejection: Into<HandlerError>;

    /// Makes the value.
    ///
    /// # Errors
    /// The handler is not called, and its attempt has failed with this error.
    fn from_delivery(delivery: &Delivery, state: &S) -> Result<Self, Self::Rejection>;
}

/// An extractor that a handler may also take as an `Option`, which is `None` where the message has no such value.
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `Option<{Self}>`, if the consumer's state is `{S}`",
    label = "not an optional extractor",
    note = "implement `inbox::extract::OptionalFromDelivery` for it"
)]
pub trait OptionalFromDelivery<S>: Sized {
    /// The error, as in [`FromDelivery`].
    type Rejection: Into<HandlerError>;

    /// Makes the value; `None` if the message has none.
    ///
    /// # Errors
    /// The message has the value, but the value is wrong.
    fn from_delivery(delivery: &Delivery, state: &S) -> Result<Option<Self>, Self::Rejection>;
}

impl<S, T: OptionalFromDelivery<S>> FromDelivery<S> for Option<T> {
    type Rejection = T::Rejection;

    fn from_delivery(delivery: &Delivery, state: &S) -> Result<Self, T::Rejection> {
        T::from_delivery(delivery, state)
    }
}
