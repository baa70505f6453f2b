//! Handlers: what a service does with a message.

mod error;
mod many;
mod router;

use std::future::Future;

pub use error::HandlerError;
pub(crate) use error::chain;
pub(crate) use error::{BoxError, Disposition};
pub use many::{BatchContext, BatchHandler, Received};
pub use router::Router;

use crate::Context;

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
