//! Publishing: writing messages into the outbox table.

use std::collections::HashSet;

use sqlx::{PgConnection, Postgres, Transaction};
use statement::{Link, Statements};

use crate::{
    IntoMessage, MessageContext, MessageId, PublishError, ReplyTo, Request, context,
    limits::SERIALIZED_KEYS, row::Row, sql,
};

/// Publishes messages within the transactions whose changes they announce.
///
/// Holds no connection; making or copying an outbox costs nothing.
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

    /// Sets a function that returns the W3C `traceparent` of the current span, called for each publish.
    ///
    /// Defaults to the trace of the current span with the feature `opentelemetry`, else to that of [`context::scope`]. Use
    /// the function to connect another tracing library.
    #[must_use]
    pub const fn traceparent_from(mut self, source: fn() -> Option<String>) -> Self {
        self.traceparent = Some(source);
        self
    }

    /// Sends statements unprepared, for poolers in transaction mode that do not support prepared ones.
    ///
    /// By default the server keeps each statement under a name and parses it once for each connection.
    /// PgBouncer in transaction mode fails on such names before version 1.21, and in later versions without
    /// `max_prepared_statements`. Without names each publish costs one more round trip and the parsing,
    /// about a quarter of its time; so keep the default where connections are direct, or pooled in session
    /// mode.
    ///
    /// The setting applies to the statements of this library only. Your own statements need
    /// `persistent(false)` and a transaction. The pooler needs
    /// `ignore_startup_parameters = extra_float_digits`, because sqlx sends that parameter.
    #[must_use]
    pub const fn without_prepared_statements(mut self) -> Self {
        self.statements = Statements::Unprepared;
        self
    }

    /// Publishes a message within a transaction: it is delivered if and only if the transaction commits.
    ///
    /// Returns the message's id.
    ///
    /// A call without a transaction, to which the message could belong, does not compile:
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
    /// Fails if a field is not allowed, which leaves the transaction usable, or if the database refuses the
    /// statement, which aborts the transaction.
    ///
    /// # Cancellation
    /// Dropping the future midway, by a timeout or in `select!`, may leave the message written or not: the
    /// server finishes a statement that it has received. Roll the transaction back. If you commit it
    /// nevertheless, the message is mostly committed too.
    pub async fn publish(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        message: impl IntoMessage,
    ) -> Result<MessageId, PublishError> {
        self.publish_without_transaction_check(tx, message).await
    }

    /// Publishes many messages within a transaction, in order and in one statement.
    ///
    /// Returns the messages' ids in the same order.
    ///
    /// # Errors
    /// As [`Outbox::publish`]; none of the messages is written.
    ///
    /// # Cancellation
    /// As [`Outbox::publish`]: roll the transaction back. Either all messages or none may have been
    /// written.
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

    /// Sends a message to one consumer within a transaction: a command, in place of an announcement to whoever listens.
    ///
    /// Returns the message's id. The consumer gets the command through an exchange of its own; see [`Message::to`](crate::Message::to).
    ///
    /// # Errors
    /// As [`Outbox::publish`], and if the consumer's name is not allowed.
    pub async fn send(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        consumer: &str,
        message: impl IntoMessage,
    ) -> Result<MessageId, PublishError> {
        let message = message.into_message()?.to(consumer)?;
        self.publish(tx, message).await
    }

    /// Sends a request to one consumer within a transaction. Its handler's reply, or the news that the request has
    /// failed for good, goes to the consumer that `reply_to` names.
    ///
    /// The returned request can be waited for once the transaction has committed, with the inbox's `Replies`. A request
    /// that is still unpublished when its time is over is dropped.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub async fn request(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        consumer: &str,
        message: impl IntoMessage,
        reply_to: &ReplyTo,
    ) -> Result<Request, PublishError> {
        let message = message.into_message()?.to(consumer)?;
        let id = self.publish(tx, message.requesting(reply_to)).await?;
        Ok(Request::new(id))
    }

    /// Publishes a message on a connection, without checking that a transaction is open.
    ///
    /// Use it for transactions that another library wraps. Without an open transaction the message commits
    /// alone and no longer depends on the change that it announces.
    ///
    /// # Errors
    /// As [`Outbox::publish`]. After [`Outbox::without_prepared_statements`] the call also fails if no
    /// transaction is open, because unprepared statements need one.
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

    /// Publishes many messages on a connection, without checking that a transaction is open.
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
            context.tracestate = None;
            return context;
        }
        #[cfg(feature = "opentelemetry")]
        crate::trace::set(&mut context);
        context
    }
}

/// Returns the distinct keys to lock.
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
