//! Handlers: the functions of a service that handle messages.

mod error;
mod failure;
mod many;
mod router;
mod versions;

use std::future::Future;

use tower::util::BoxCloneSyncService;

pub use error::HandlerError;
pub(crate) use error::{BoxError, Disposition};
pub use failure::HandlerFailure;
pub use many::{BatchContext, BatchHandler, Received};
pub(crate) use router::{Knowledge, Router};
pub(crate) use versions::{Step, VersionMistake};

use crate::Context;

/// The handlers of a consumer with the layers around them, called inside the transaction of a message.
///
/// The error of the innermost service is a [`HandlerFailure`].
pub type HandlerService = BoxCloneSyncService<Context, (), BoxError>;

/// Handles the events of one type.
///
/// Implemented for async functions and closures of a [`Context`] and an event:
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct OrderPlaced { id: i64 }
/// async fn invoice(mut ctx: inbox::Context, order: OrderPlaced) -> Result<(), inbox::HandlerError> {
///     sqlx::query("INSERT INTO invoices (order_id) VALUES ($1)")
///         .bind(order.id)
///         .execute(ctx.connection())
///         .await?;
///     Ok(())
/// }
/// ```
///
/// A closure passes further values to a handler, cloned for each call. In a function that returns
/// [`HandlerError`], convert an `anyhow::Error` with [`HandlerError::retry`]:
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct OrderPlaced { id: i64 }
/// # impl outbox::Event for OrderPlaced {
/// #     const TOPIC: &'static str = "orders.placed";
/// #     fn key(&self) -> Option<String> { None }
/// # }
/// # #[derive(Clone)]
/// # struct Prices;
/// # impl Prices { fn of(&self, _: i64) -> anyhow::Result<i64> { Ok(1) } }
/// use inbox::{ConsumerBuilder, Context, HandlerError};
///
/// async fn price(_: Context, order: OrderPlaced, prices: Prices) -> Result<(), HandlerError> {
///     let _cents = prices.of(order.id).map_err(HandlerError::retry)?;
///     Ok(())
/// }
///
/// fn with_prices(builder: ConsumerBuilder, prices: Prices) -> ConsumerBuilder {
///     builder.on::<OrderPlaced, _, _>(move |ctx, order| price(ctx, order, prices.clone()))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle `{E}`",
    label = "expected `async fn(inbox::Context, {E}) -> Result<(), inbox::HandlerError>`",
    note = "the context is taken by value, as `mut ctx: inbox::Context`",
    note = "the future must be `Send`: hold no `Rc`, `RefCell` guard or `std` mutex guard across an `.await`",
    note = "the error is `inbox::HandlerError`, or a type that converts into it"
)]
pub trait Handler<E, Error>: Send + Sync + 'static {
    /// Handles an event.
    fn handle(
        &self,
        context: Context,
        event: E,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

impl<F, E, Working, Error> Handler<E, Error> for F
where
    F: Fn(Context, E) -> Working + Send + Sync + 'static,
    Working: Future<Output = Result<(), Error>> + Send,
    Error: Into<HandlerError>,
{
    fn handle(
        &self,
        context: Context,
        event: E,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let work = self(context, event);
        async move { work.await.map_err(Into::into) }
    }
}
