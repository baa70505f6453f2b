//! The context of a handler: the transaction, the message, and publishing.

use std::sync::Arc;

use outbox::{IntoMessage, MessageContext, MessageId, Outbox, PublishError, ReplyTo};
use postroom_message::Incoming;
use sqlx::PgConnection;

use crate::{
    Delivery, HandlerError, delivery::short_name, idempotency::EventKeys,
    transaction_guard::TransactionGuard,
};

/// Error of [`Context::reply`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The handled message names no consumer to reply to.
    #[error(
        "cannot reply: the message is no request, as it names no consumer to reply to; send it with `Outbox::request`, or do not reply to it"
    )]
    NoRequest,
    /// The reply cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// A message's transaction and the message itself.
///
/// Everything done on [`Context::connection`] and published with [`Context::publish`] commits
/// together with the record that the message was handled, or not at all. Dropping the context returns
/// the transaction to the inbox. A handler that returns while its context still exists, for example in
/// a task that it spawned, has failed, and nothing commits.
#[derive(Debug)]
pub struct Context {
    /// The inbox commits only after this guard was dropped.
    transaction: TransactionGuard,
    delivery: Delivery,
    /// Values that follow-ups inherit from the handled message.
    inherited: MessageContext,
    outbox: Outbox,
}

impl Context {
    pub(crate) fn new(transaction: TransactionGuard, delivery: Delivery, outbox: Outbox) -> Self {
        Self {
            transaction,
            inherited: inherited(delivery.message()),
            delivery,
            outbox,
        }
    }

    /// Returns the values that follow-ups of a delivery inherit.
    pub(crate) fn inherited_by(delivery: &Delivery) -> MessageContext {
        inherited(delivery.message())
    }

    /// Records the event's idempotency key; returns `None` if the event is a duplicate by meaning.
    pub(crate) async fn record_key(self, key: EventKeys) -> Result<Option<Self>, HandlerError> {
        let (transaction, duplicates) = self.transaction.record_keys(key).await?;
        let is_new = duplicates.is_empty();
        Ok(is_new.then_some(Self {
            transaction,
            ..self
        }))
    }

    pub(crate) fn into_parts(self) -> (TransactionGuard, Delivery, Outbox) {
        (self.transaction, self.delivery, self.outbox)
    }

    /// Returns the connection on which the transaction is open.
    ///
    /// A handler may use savepoints, but must not end the transaction. The inbox detects a `COMMIT` or
    /// `ROLLBACK` by the handler in every case, and parks the message dead. Consequences for other messages
    /// that share the transaction:
    ///
    /// - After a `COMMIT` they are parked dead too, since the writes before it cannot be undone.
    /// - After a `ROLLBACK` they run again. Statements after the `ROLLBACK` ran outside a transaction, so
    ///   each of them stays committed.
    ///
    /// Dropping the future that begins a savepoint, as a deadline does, has the effect of such a `ROLLBACK`:
    /// sqlx 0.9 sends it without reporting so.
    ///
    /// A value set with `SET LOCAL` applies until the transaction ends, so also to later messages that share
    /// the transaction. Do not combine handlers that do so, for example to set a tenant, with
    /// [`messages_per_transaction`](crate::ConsumerBuilder::messages_per_transaction).
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Publishes a follow-up message with the transaction. Returns its id.
    ///
    /// The follow-up names the handled message as its cause, and inherits its correlation id and trace,
    /// unless [`outbox::context::scope`] sets others.
    ///
    /// # Errors
    /// As [`Outbox::publish`].
    pub async fn publish(&mut self, message: impl IntoMessage) -> Result<MessageId, PublishError> {
        let context = self.follow_up_context();
        let publish = self.outbox.publish(&mut self.transaction, message);
        outbox::context::scope(context, publish).await
    }

    /// Publishes many follow-up messages with the transaction, in order and in one statement.
    ///
    /// Returns their ids, in the same order.
    ///
    /// # Errors
    /// As [`Outbox::publish_all`].
    pub async fn publish_all<I>(&mut self, messages: I) -> Result<Vec<MessageId>, PublishError>
    where
        I: IntoIterator<Item: IntoMessage>,
    {
        let context = self.follow_up_context();
        let publish = self.outbox.publish_all(&mut self.transaction, messages);
        outbox::context::scope(context, publish).await
    }

    /// Sends a follow-up command to one consumer with the transaction. Returns its id.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub async fn send(
        &mut self,
        consumer: &str,
        message: impl IntoMessage,
    ) -> Result<MessageId, PublishError> {
        let context = self.follow_up_context();
        let send = self.outbox.send(&mut self.transaction, consumer, message);
        outbox::context::scope(context, send).await
    }

    /// Sends a request to one consumer with the transaction. Returns its id, which the reply names in
    /// [`Incoming::in_reply_to`].
    ///
    /// The request leaves with the commit, after the handler, so the handler cannot wait for the reply: handle the reply
    /// as a message, with [`on_command`](crate::ConsumerBuilder::on_command).
    ///
    /// # Errors
    /// As [`Outbox::request`].
    pub async fn request(
        &mut self,
        consumer: &str,
        message: impl IntoMessage,
        reply_to: &ReplyTo,
    ) -> Result<MessageId, PublishError> {
        let context = self.follow_up_context();
        let outbox = self.outbox;
        let request = outbox.request(&mut self.transaction, consumer, message, reply_to);
        Ok(outbox::context::scope(context, request).await?.id())
    }

    /// Replies to the handled request with the transaction. Returns the reply's id.
    ///
    /// A handler that serves both requests and plain commands asks first whether
    /// [`Incoming::reply_to`](Incoming) names a consumer.
    ///
    /// # Errors
    /// Fails if the message is no request, and as [`Outbox::publish`].
    pub async fn reply(&mut self, message: impl IntoMessage) -> Result<MessageId, ReplyError> {
        let incoming = self.delivery.message();
        let (Some(consumer), Some(request)) = (&incoming.reply_to, &incoming.message_id) else {
            return Err(ReplyError::NoRequest);
        };
        let reply = message.into_message()?.replying(consumer, request)?;
        Ok(self.publish(reply).await?)
    }

    /// Returns the context of follow-ups: the values of the current scope, and those of the handled message
    /// where the scope sets none, as in a task that the handler has spawned.
    fn follow_up_context(&self) -> MessageContext {
        let mut context = outbox::context::current();
        let inherited = self.inherited.clone();
        context.correlation_id = context.correlation_id.or(inherited.correlation_id);
        context.causation_id = context.causation_id.or(inherited.causation_id);
        if context.traceparent.is_none() {
            context.traceparent = inherited.traceparent;
            context.tracestate = inherited.tracestate;
        }
        context
    }

    /// Returns the message, without its body.
    pub fn message(&self) -> &Incoming {
        self.delivery.message()
    }

    /// Returns the message's body as received, unless a layer replaced it.
    pub fn body(&self) -> &[u8] {
        self.delivery.body()
    }

    /// Replaces the body, for a layer that decrypts or unpacks it. If the message is parked, the body as
    /// received is stored.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Arc<[u8]>>) -> Self {
        self.delivery = self.delivery.with_body(body);
        self
    }

    /// Returns the number of this attempt, from 1. Reruns after a conflict are not counted.
    pub const fn attempt(&self) -> u32 {
        self.delivery.attempt()
    }

    pub(crate) const fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}

/// Returns the values that follow-ups inherit: the handled message's id as cause, its correlation id and its
/// trace.
///
/// If the message has no correlation id, its message id starts a new correlation. An id that is too long for
/// a correlation id is replaced by its SHA-256.
fn inherited(message: &Incoming) -> MessageContext {
    let mut context = MessageContext::new();
    context.causation_id.clone_from(&message.message_id);
    context.correlation_id = message
        .correlation_id
        .clone()
        .or_else(|| message.message_id.clone())
        .map(short_name);
    context.traceparent.clone_from(&message.traceparent);
    context.tracestate.clone_from(&message.tracestate);
    context
}

#[cfg(test)]
mod tests {
    use postroom_message::Incoming;

    use super::inherited;

    #[test]
    fn follow_ups_name_their_cause_and_inherit_the_correlation_id() {
        let mut message = Incoming::default();
        message.message_id = Some("m-1".into());
        message.traceparent = Some("00-a-b-01".into());
        let first = inherited(&message);
        assert_eq!(first.causation_id.as_deref(), Some("m-1"));
        assert_eq!(first.correlation_id.as_deref(), Some("m-1"));
        assert_eq!(first.traceparent.as_deref(), Some("00-a-b-01"));
        message.correlation_id = Some("process".into());
        let second = inherited(&message);
        assert_eq!(second.correlation_id.as_deref(), Some("process"));
        message.correlation_id = None;
        message.message_id = Some("x".repeat(300));
        let long_id = inherited(&message);
        assert_eq!(long_id.causation_id, message.message_id);
        assert_eq!(long_id.correlation_id.map(|id| id.len()), Some(71));
    }
}
