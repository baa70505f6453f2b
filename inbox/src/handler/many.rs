//! Batch handlers: one call takes many messages.

use outbox::{IntoMessage, MessageContext, MessageId, Outbox, PublishError};
use postroom_message::Incoming;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;

use super::{HandlerError, Step};
use crate::{Context, Delivery, idempotency::EventKeys, transaction_guard::TransactionGuard};

/// The transaction of a batch of messages.
///
/// Everything done and published in this transaction commits together with the records of all messages of
/// the batch, or not at all. As with [`Context`], dropping the value returns the transaction to the inbox.
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

    /// Records the idempotency keys of events, and leaves out the events that are duplicates by meaning.
    pub(super) async fn record_keys<E>(
        self,
        keys: EventKeys,
        events: Vec<Received<E>>,
    ) -> Result<(Self, Vec<Received<E>>), HandlerError> {
        let (transaction, duplicates) = self.transaction.record_keys(keys).await?;
        let events = events.into_iter().enumerate();
        let new = events.filter(|(position, _)| !duplicates.contains(position));
        let new = new.map(|(_, received)| received).collect();
        let context = Self {
            transaction,
            ..self
        };
        Ok((context, new))
    }

    /// Returns the connection on which the transaction is open.
    ///
    /// Use savepoints, but no `COMMIT` or `ROLLBACK`: ending the transaction fails the handler. See
    /// [`Context::connection`].
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Publishes follow-up messages with the transaction, in order and in one statement. Returns their ids,
    /// in the same order.
    ///
    /// The handler sets the cause of each message, with [`Message::context`](outbox::Message::context) and
    /// [`Received::context`].
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

/// An event of a batch, with the message that contained it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Received<E> {
    /// The decoded event.
    pub event: E,
    delivery: Delivery,
}

impl<E> Received<E> {
    /// Returns the message, without its body.
    pub fn message(&self) -> &Incoming {
        self.delivery.message()
    }

    pub(super) const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Returns the context for follow-ups of this message: the message as their cause, and its correlation
    /// id and trace.
    pub fn context(&self) -> MessageContext {
        Context::inherited_by(&self.delivery)
    }
}

impl<E: DeserializeOwned> Received<E> {
    /// Decodes a delivery's body as JSON, after the steps to the event's version.
    pub(super) fn read(delivery: Delivery, steps: &[Step]) -> Result<Self, HandlerError> {
        let event = delivery.decode_after(steps)?;
        Ok(Self { event, delivery })
    }
}

/// Handles many events of one type at once.
///
/// Implemented for async functions and closures of a [`BatchContext`], up to eight extractors
/// [`State`](super::extract::State) and the events, in this order. `M` is the tuple of the extractors:
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
    message = "`{Self}` is no handler of batches",
    label = "expected `async fn(inbox::BatchContext, …State<T>, Vec<inbox::Received<Event>>) -> Result<(), E>`",
    note = "a batch handler takes the context first and by value, as `mut ctx: inbox::BatchContext`",
    note = "a batch handler takes up to eight `State<T>`, and its events last"
)]
pub trait BatchHandler<E, M> {
    /// The future that handles the events: a [`HandlerFuture`](super::HandlerFuture).
    type Future;

    /// Handles at least one event, in the order of the queue.
    fn handle(&self, context: BatchContext, extracted: M, events: Vec<Received<E>>)
    -> Self::Future;
}
