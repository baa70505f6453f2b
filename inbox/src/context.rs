//! What a handler works with.

use outbox::{IntoMessage, MessageContext, MessageId, Outbox, PublishError, wire::Incoming};
use sqlx::PgConnection;

use crate::{Delivery, delivery::short_name, transaction::TransactionGuard};

/// A message's transaction and the message itself.
///
/// Everything done on [`Context::connection`] and published with [`Context::publish`] commits
/// together with the record that the message was handled, or not at all. The transaction goes
/// back to the inbox when the context is dropped: a handler that keeps its context beyond its
/// end (in a task that it spawned, say) has failed, and nothing commits.
#[derive(Debug)]
pub struct Context {
    /// The inbox waits for this guard to be dropped before it commits.
    transaction: TransactionGuard,
    delivery: Delivery,
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

    /// Returns what messages published by the handler of a delivery inherit.
    pub(crate) fn inherited_by(delivery: &Delivery) -> MessageContext {
        inherited(delivery.message())
    }

    pub(crate) fn into_parts(self) -> (TransactionGuard, Delivery, Outbox) {
        (self.transaction, self.delivery, self.outbox)
    }

    /// Returns the connection on which the transaction is open.
    ///
    /// Savepoints are welcome. Ending the transaction is not: a `COMMIT` or `ROLLBACK` of the handler's own is
    /// found out, however the handler goes on, and the message is parked dead. Other messages that share the
    /// transaction are so too if it was a `COMMIT`: what had been written by then cannot be taken back. After a
    /// `ROLLBACK` they run again, and what their handlers wrote after it, each statement by itself, stays.
    ///
    /// Dropping the future that begins a savepoint, as a deadline does, is such a `ROLLBACK`: sqlx 0.9 sends it
    /// without a word.
    ///
    /// What a handler sets with `SET LOCAL` holds to the transaction's end: for the messages too that share it
    /// and come later. Handlers that do so, of tenants say, are not for
    /// [`messages_per_transaction`](crate::ConsumerBuilder::messages_per_transaction).
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Publishes a follow-up message with the transaction.
    ///
    /// It names the handled message as its cause, and continues its correlation and trace, unless
    /// [`outbox::context::scope`] says otherwise. Returns its id.
    ///
    /// # Errors
    /// As [`Outbox::publish`].
    pub async fn publish(&mut self, message: impl IntoMessage) -> Result<MessageId, PublishError> {
        let context = self.inherits();
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
        let context = self.inherits();
        let publish = self.outbox.publish_all(&mut self.transaction, messages);
        outbox::context::scope(context, publish).await
    }

    /// What a message inherits: of the handler's own scope, and what that leaves out of the handled message.
    /// A task that the handler has spawned has no scope.
    fn inherits(&self) -> MessageContext {
        let mut context = outbox::context::current();
        let inherited = self.inherited.clone();
        context.correlation_id = context.correlation_id.or(inherited.correlation_id);
        context.causation_id = context.causation_id.or(inherited.causation_id);
        context.traceparent = context.traceparent.or(inherited.traceparent);
        context
    }

    /// Returns the message, without its body.
    pub fn message(&self) -> &Incoming {
        self.delivery.message()
    }

    /// Returns the message's body: as it came, unless a layer replaced it.
    pub fn body(&self) -> &[u8] {
        self.delivery.body()
    }

    /// Returns the number of this attempt, from 1. Reruns after a conflict are not counted.
    pub const fn attempt(&self) -> u32 {
        self.delivery.attempt()
    }

    pub(crate) const fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}

/// The handled message causes the follow-ups. A message that belongs to no process begins one. Its id may be
/// longer than such an id can be: then it is the id's SHA-256.
fn inherited(message: &Incoming) -> MessageContext {
    let mut context = MessageContext::new();
    context.causation_id.clone_from(&message.message_id);
    context.correlation_id = message
        .correlation_id
        .clone()
        .or_else(|| message.message_id.clone())
        .map(short_name);
    context.traceparent.clone_from(&message.traceparent);
    context
}

#[cfg(test)]
mod tests {
    use outbox::wire::Incoming;

    use super::inherited;

    #[test]
    fn follow_ups_name_their_cause_and_continue_the_process() {
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
        let of_others = inherited(&message);
        assert_eq!(of_others.causation_id, message.message_id);
        assert_eq!(of_others.correlation_id.map(|id| id.len()), Some(71));
    }
}
