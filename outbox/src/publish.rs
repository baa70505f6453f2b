//! Writing messages into the outbox.

use std::collections::HashSet;

use sqlx::{PgConnection, Postgres, Transaction};

use crate::{
    IntoMessage, Message, MessageContext, MessageId, PublishError, context,
    limits::SERIALIZED_KEYS,
    link::{Link, Statements},
    sql,
};

/// Publishes messages with the transactions that they announce.
///
/// Holds no connection and costs nothing to make or copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outbox {
    traceparent: Option<fn() -> Option<String>>,
    statements: Statements,
}

impl Outbox {
    /// Makes an outbox.
    pub const fn new() -> Self {
        Self {
            traceparent: None,
            statements: Statements::Prepared,
        }
    }

    /// Asks `source` for the W3C `traceparent` of the current span at each call.
    ///
    /// Defaults to the one of [`context::scope`]. Use it to connect a tracing library.
    #[must_use]
    pub const fn traceparent_from(mut self, source: fn() -> Option<String>) -> Self {
        self.traceparent = Some(source);
        self
    }

    /// Sends statements unprepared, for poolers in transaction mode that know none.
    ///
    /// By default the server keeps each statement under a name, and parses it once for a
    /// connection. PgBouncer in transaction mode fails on such names before its version 1.21, and
    /// in later ones without `max_prepared_statements`. Without names each publishing costs one
    /// round trip more and the parsing, about a quarter of its time; so leave this alone where
    /// connections are direct, or pooled in session mode.
    ///
    /// It concerns the statements of this library. Those of your own need `persistent(false)` and a
    /// transaction, and the pooler needs `ignore_startup_parameters = extra_float_digits`, which
    /// sqlx sends.
    #[must_use]
    pub const fn without_prepared_statements(mut self) -> Self {
        self.statements = Statements::Unprepared;
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
    /// As [`Outbox::publish`]. After [`Outbox::without_prepared_statements`] it also fails if no
    /// transaction is open: statements without a name need one.
    pub async fn publish_without_transaction_check(
        &self,
        connection: &mut PgConnection,
        message: impl IntoMessage,
    ) -> Result<MessageId, PublishError> {
        let mut message = message.into_message()?;
        message.inherit(&self.context());
        message.check_times()?;
        let id = message.id;
        let mut link = self.link(connection).await?;
        if message.serialize_key {
            lock_keys(&mut link, std::slice::from_ref(&message)).await?;
        }
        sql::insert_one(&mut link, message).await?;
        Ok(id)
    }

    /// Publishes many messages on a connection, whether or not a transaction is open on it.
    ///
    /// # Errors
    /// As [`Outbox::publish_without_transaction_check`].
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
            message.check_times()?;
            batch.push(message);
        }
        let ids = batch.iter().map(|message| message.id).collect();
        if !batch.is_empty() {
            let mut link = self.link(connection).await?;
            lock_keys(&mut link, &batch).await?;
            sql::insert_all(&mut link, batch).await?;
        }
        Ok(ids)
    }

    async fn link<'c>(&self, connection: &'c mut PgConnection) -> Result<Link<'c>, PublishError> {
        let mut link = self.statements.on(connection);
        if self.statements == Statements::Unprepared && !sql::in_transaction(&mut link).await? {
            return Err(PublishError::NoTransaction);
        }
        Ok(link)
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
async fn lock_keys(link: &mut Link<'_>, messages: &[Message]) -> Result<(), PublishError> {
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
        sql::lock_keys(link, &keys).await?;
    }
    Ok(())
}
