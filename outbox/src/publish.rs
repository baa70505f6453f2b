//! Writing messages into the outbox.

use std::collections::HashSet;

use sqlx::{PgConnection, Postgres, Transaction};

use crate::{
    IntoMessage, Message, MessageContext, MessageId, PublishError, context,
    limits::SERIALIZED_KEYS, sql,
};

/// Publishes messages with the transactions that they announce.
///
/// Holds no connection and costs nothing to make or copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outbox {
    traceparent: Option<fn() -> Option<String>>,
}

impl Outbox {
    /// Makes an outbox.
    pub const fn new() -> Self {
        Self { traceparent: None }
    }

    /// Asks `source` for the W3C `traceparent` of the current span at each call.
    ///
    /// Defaults to the one of [`context::scope`]. Use it to connect a tracing library.
    #[must_use]
    pub const fn traceparent_from(mut self, source: fn() -> Option<String>) -> Self {
        self.traceparent = Some(source);
        self
    }

    /// Publishes a message with a transaction: it is delivered if and only if that commits.
    ///
    /// Returns the message's id.
    ///
    /// Without a transaction there is nothing that the message could be one with, so this does not
    /// compile:
    ///
    /// ```compile_fail,E0308
    /// # use outbox::{Message, Outbox, PublishError};
    /// async fn outside(connection: &mut sqlx::PgConnection, message: Message) -> Result<(), PublishError> {
    ///     Outbox::new().publish(connection, message).await?; // expected `Transaction`
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Fails if a field cannot be carried, which leaves the transaction usable, or if the
    /// database refuses, which aborts it.
    pub async fn publish(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        message: impl IntoMessage,
    ) -> Result<MessageId, PublishError> {
        self.publish_without_transaction_check(tx, message).await
    }

    /// Publishes many messages with a transaction, in order and in one statement.
    ///
    /// Returns their ids, in the same order.
    ///
    /// # Errors
    /// As [`Outbox::publish`]; none of the messages is written.
    pub async fn publish_all<I>(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        messages: I,
    ) -> Result<Vec<MessageId>, PublishError>
    where
        I: IntoIterator<Item: IntoMessage>,
    {
        self.publish_all_without_transaction_check(tx, messages)
            .await
    }

    /// Publishes a message on a connection, whether or not a transaction is open on it.
    ///
    /// For transactions that another library wraps. Without an open transaction the message is
    /// committed by itself: it no longer depends on the work that it announces.
    ///
    /// # Errors
    /// As [`Outbox::publish`].
    pub async fn publish_without_transaction_check(
        &self,
        connection: &mut PgConnection,
        message: impl IntoMessage,
    ) -> Result<MessageId, PublishError> {
        let mut message = message.into_message()?;
        message.inherit(&self.context());
        let id = message.id;
        if message.serialize_key {
            lock_keys(connection, std::slice::from_ref(&message)).await?;
        }
        sql::insert_one(connection, message).await?;
        Ok(id)
    }

    /// Publishes many messages on a connection, whether or not a transaction is open on it.
    ///
    /// # Errors
    /// As [`Outbox::publish`].
    pub async fn publish_all_without_transaction_check<I>(
        &self,
        connection: &mut PgConnection,
        messages: I,
    ) -> Result<Vec<MessageId>, PublishError>
    where
        I: IntoIterator<Item: IntoMessage>,
    {
        let context = self.context();
        let mut batch = Vec::new();
        for message in messages {
            let mut message = message.into_message()?;
            message.inherit(&context);
            batch.push(message);
        }
        let ids = batch.iter().map(|message| message.id).collect();
        if !batch.is_empty() {
            lock_keys(connection, &batch).await?;
            sql::insert_all(connection, batch).await?;
        }
        Ok(ids)
    }

    fn context(&self) -> MessageContext {
        let mut context = context::current();
        if let Some(traceparent) = self.traceparent.and_then(|source| source()) {
            context.traceparent = Some(traceparent);
        }
        context
    }
}

/// Locks the keys that ask for it: sorted, in a statement of its own, before the insert.
async fn lock_keys(
    connection: &mut PgConnection,
    messages: &[Message],
) -> Result<(), PublishError> {
    let keys: HashSet<&str> = messages
        .iter()
        .filter(|message| message.serialize_key)
        .filter_map(|message| message.key.as_ref())
        .map(crate::Key::as_str)
        .collect();
    if keys.len() > SERIALIZED_KEYS {
        return Err(PublishError::TooManySerializedKeys(keys.len()));
    }
    if !keys.is_empty() {
        let keys: Vec<&str> = keys.into_iter().collect();
        sql::lock_keys(connection, &keys).await?;
    }
    Ok(())
}
