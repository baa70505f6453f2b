//! Writing messages into the outbox.

use std::collections::HashSet;

use sqlx::{PgConnection, Postgres, Transaction};

use crate::{
    IntoMessage, MessageContext, MessageId, PublishError, context,
    limits::SERIALIZED_KEYS,
    link::{Link, Statements},
    row::Row,
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
    ///
    /// # Cancellation
    /// A future that is dropped midway, by a timeout or in `select!`, may have written the message
    /// or not: the server finishes a statement that it was sent. Roll the transaction back. One that
    /// is committed nevertheless mostly takes the message with it.
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
    ///
    /// # Cancellation
    /// As [`Outbox::publish`]: roll the transaction back. All of the messages may have been written,
    /// or none.
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
        let row = Row::new(message.into_message()?, &self.context())?;
        let id = row.id();
        let keys = keys_to_lock(std::slice::from_ref(&row))?;
        let mut link = self.link(connection).await?;
        if !keys.is_empty() {
            sql::lock_keys(&mut link, &keys).await?;
        }
        sql::insert_one(&mut link, row).await?;
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
        let mut rows = Vec::new();
        for message in messages {
            rows.push(Row::new(message.into_message()?, &context)?);
        }
        let ids = rows.iter().map(Row::id).collect();
        let keys = keys_to_lock(&rows)?;
        if !rows.is_empty() {
            let mut link = self.link(connection).await?;
            if !keys.is_empty() {
                sql::lock_keys(&mut link, &keys).await?;
            }
            sql::insert_all(&mut link, rows).await?;
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

/// Keys that ask for a lock, each once.
fn keys_to_lock(rows: &[Row]) -> Result<Vec<String>, PublishError> {
    let keys: HashSet<&str> = rows
        .iter()
        .map(|row| &row.message)
        .filter(|message| message.serialize_key)
        .filter_map(|message| message.key.as_ref())
        .map(crate::Key::as_str)
        .collect();
    if keys.len() > SERIALIZED_KEYS {
        return Err(PublishError::TooManySerializedKeys(keys.len()));
    }
    Ok(keys.into_iter().map(str::to_owned).collect())
}
