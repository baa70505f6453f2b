//! Handlers that take many messages at once.

use std::future::Future;

use outbox::{IntoMessage, MessageContext, MessageId, Outbox, PublishError, wire::Incoming};
use serde::de::DeserializeOwned;
use sqlx::PgConnection;

use super::{Disposition, HandlerError};
use crate::{Context, Delivery, transaction::TransactionGuard};

/// The transaction of many messages.
///
/// What is done and published here commits together with the record that all of them were handled,
/// or not at all. As with [`Context`], it goes back to the inbox when it is dropped.
#[derive(Debug)]
pub struct BatchContext {
    transaction: TransactionGuard,
    outbox: Outbox,
}

impl BatchContext {
    pub(crate) const fn new(transaction: TransactionGuard, outbox: Outbox) -> Self {
        Self {
            transaction,
            outbox,
        }
    }

    /// Returns the connection on which the transaction is open.
    ///
    /// Ending the transaction fails the handler; savepoints are welcome.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Publishes follow-up messages with the transaction, in order and in one statement.
    ///
    /// Which message caused which is for the handler to say, with
    /// [`Message::context`](outbox::Message::context) and [`Received::context`].
    ///
    /// # Errors
    /// As [`Outbox::publish_all`].
    pub async fn publish_all<I>(&mut self, messages: I) -> Result<Vec<MessageId>, PublishError>
    where
        I: IntoIterator<Item: IntoMessage>,
    {
        self.outbox
            .publish_all(&mut self.transaction, messages)
            .await
    }
}

/// An event of a batch, and the message that it came in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Received<E> {
    /// The event.
    pub event: E,
    delivery: Delivery,
}

impl<E> Received<E> {
    /// Returns the message, without its body.
    pub fn message(&self) -> &Incoming {
        self.delivery.message()
    }

    /// Returns what follow-ups of this message inherit: it is their cause, and they continue its
    /// correlation and trace.
    pub fn context(&self) -> MessageContext {
        Context::inherited_by(&self.delivery)
    }
}

impl<E: DeserializeOwned> Received<E> {
    pub(super) fn read(delivery: Delivery) -> Result<Self, HandlerError> {
        let event = serde_json::from_slice(delivery.body())
            .map_err(|error| HandlerError::new(Disposition::Undecodable, error))?;
        Ok(Self { event, delivery })
    }
}

/// Handles many events of one type at once.
///
/// Implemented for async functions and closures of a [`BatchContext`] and the events:
///
/// ```
/// # use inbox::{BatchContext, HandlerError, Received};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct OrderPlaced { id: i64 }
/// async fn count(mut ctx: BatchContext, orders: Vec<Received<OrderPlaced>>) -> Result<(), HandlerError> {
///     let ids: Vec<i64> = orders.iter().map(|order| order.event.id).collect();
///     sqlx::query("INSERT INTO counted (order_id) SELECT unnest($1::bigint[])")
///         .bind(ids)
///         .execute(ctx.connection())
///         .await?;
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle batches of `{E}`",
    label = "expected `async fn(inbox::BatchContext, Vec<inbox::Received<{E}>>) -> Result<(), inbox::HandlerError>`",
    note = "the future must be `Send`: hold no `Rc`, `RefCell` guard or `std` mutex guard across an `.await`"
)]
pub trait BatchHandler<E, Error>: Send + Sync + 'static {
    /// Handles events, in the order in which they came: at least one.
    fn handle(
        &self,
        context: BatchContext,
        events: Vec<Received<E>>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

impl<F, E, Working, Error> BatchHandler<E, Error> for F
where
    F: Fn(BatchContext, Vec<Received<E>>) -> Working + Send + Sync + 'static,
    Working: Future<Output = Result<(), Error>> + Send,
    Error: Into<HandlerError>,
{
    fn handle(
        &self,
        context: BatchContext,
        events: Vec<Received<E>>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let work = self(context, events);
        async move { work.await.map_err(Into::into) }
    }
}
