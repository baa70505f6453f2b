//! The consumer's state, as handlers take it.

use std::convert::Infallible;

use super::FromDelivery;
use crate::Delivery;

/// Extracts the consumer's state, or a part of it, as a clone.
///
/// [`ConsumerBuilder::with_state`](crate::ConsumerBuilder::with_state) sets the state. `T` is its type, or a type
/// that [`FromRef`] takes out of it:
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct OrderPlaced { id: i64 }
/// # impl outbox::Event for OrderPlaced {
/// #     const TOPIC: &'static str = "orders.placed";
/// #     fn key(&self) -> Option<String> { None }
/// # }
/// use inbox::{
///     ConsumerBuilder, Context, HandlerError,
///     extract::{FromRef, State},
/// };
///
/// #[derive(Clone)]
/// struct Prices;
///
/// #[derive(Clone)]
/// struct App {
///     prices: Prices,
/// }
///
/// impl FromRef<App> for Prices {
///     fn from_ref(app: &App) -> Self {
///         app.prices.clone()
///     }
/// }
///
/// async fn price(_: Context, State(prices): State<Prices>, order: OrderPlaced) -> Result<(), HandlerError> {
///     # let _ = (prices, order);
///     Ok(())
/// }
///
/// fn with_prices(builder: ConsumerBuilder, app: App) -> ConsumerBuilder<App> {
///     builder.with_state(app).on(price)
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State<T>(
    /// The state, or the part of it.
    pub T,
);

/// A value that is part of a state `S`. Each type that can be cloned is part of itself.
#[diagnostic::on_unimplemented(
    message = "the consumer's state is `{S}`, and contains no `{Self}`",
    label = "not in the state `{S}`",
    note = "set the state before the handlers that take it: `Consumer::builder(…).with_state(app).on(handler)`",
    note = "a part of the state is taken by `impl inbox::extract::FromRef<{S}> for {Self}`"
)]
pub trait FromRef<S> {
    /// Clones the value out of the state.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> T {
        state.clone()
    }
}

/// A value that a batch handler takes between its context and its events. A batch has many messages, so the value is
/// made from the consumer's state `S` alone.
#[diagnostic::on_unimplemented(
    message = "a batch handler cannot take `{Self}` before its events",
    label = "not made from the consumer's state alone",
    note = "a batch handler takes its context first, then `State<T>`, and its events last, as a `Vec`",
    note = "values of a message are in `inbox::Received`"
)]
pub trait FromState<S> {
    /// Makes the value.
    fn from_state(state: &S) -> Self;
}

impl<S, T: FromRef<S>> FromState<S> for State<T> {
    fn from_state(state: &S) -> Self {
        Self(T::from_ref(state))
    }
}

impl<S, T: FromRef<S>> FromDelivery<S> for State<T> {
    type Rejection = Infallible;

    fn from_delivery(_: &Delivery, state: &S) -> Result<Self, Infallible> {
        Ok(Self(T::from_ref(state)))
    }
}
