//! Handlers: the functions of a service that handle messages.

mod arity;
mod error;
pub mod extract;
mod failure;
mod fates;
mod function;
mod future;
mod kept_replies;
mod keys;
mod many;
mod router;
mod versions;

use tower::util::BoxCloneSyncService;

pub use error::HandlerError;
pub(crate) use error::{BoxError, Disposition};
pub use failure::HandlerFailure;
pub(crate) use fates::Fates;
pub use fates::{Fate, HasFate};
pub use future::HandlerFuture;
pub(crate) use kept_replies::KeptReplies;
pub(crate) use keys::{KeyFunction, KeyMistake, Keys};
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
/// Implemented for async functions and closures of a [`Context`], up to eight [extractors](extract) and an event, in
/// this order. `M` is the tuple of the extractors:
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct OrderPlaced { id: i64 }
/// # #[derive(Clone)]
/// # struct Prices;
/// # impl Prices { fn of(&self, _: i64) -> anyhow::Result<i64> { Ok(1) } }
/// use inbox::{Context, HandlerError, extract::State};
///
/// async fn invoice(mut ctx: Context, order: OrderPlaced) -> Result<(), HandlerError> {
///     sqlx::query("INSERT INTO invoices (order_id) VALUES ($1)")
///         .bind(order.id)
///         .execute(ctx.connection())
///         .await?;
///     Ok(())
/// }
///
/// async fn price(_: Context, State(prices): State<Prices>, order: OrderPlaced) -> anyhow::Result<()> {
///     let _cents = prices.of(order.id)?;
///     Ok(())
/// }
/// ```
///
/// The error is any type that converts into [`HandlerError`]: an error of the service, an `anyhow::Error`, or
/// [`HandlerError`] itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler",
    label = "expected `async fn(inbox::Context, …extractors, Event) -> Result<(), E>`",
    note = "a handler takes the context first and by value, as `mut ctx: inbox::Context`",
    note = "a handler takes up to eight extractors (`inbox::extract`), and its event last"
)]
pub trait Handler<E, M> {
    /// The future that handles the event: a [`HandlerFuture`].
    type Future;

    /// Handles an event.
    fn handle(&self, context: Context, extracted: M, event: E) -> Self::Future;
}
