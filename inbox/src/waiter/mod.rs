//! Waiting, outside of handlers, until a consumer has handled a message.

mod error;
mod look;

use std::{sync::Arc, time::Duration};

use outbox::{ConsistencyToken, MessageId};
use postroom_message::TopicPatterns;
use sqlx::PgPool;
use statement::Statements;
use tokio::time::{Instant, timeout_at};

pub use error::{NotHandled, WaitError};
use look::Records;

use crate::{dedup::Id, polling::Polls};

/// Waits until a consumer has handled messages: for a request that shows what an earlier request has changed.
///
/// The waits look at the consumer's records in its database, so they also see the work of other processes. A message is
/// handled once its handler's transaction has committed, or once an operator has discarded the message. A parked message
/// is not handled.
///
/// Cheap to clone. All waits of a waiter and its clones share one connection of the pool and one statement for each look,
/// so make one waiter for each consumer, not one for each request. A look comes at once, then after 10 ms, then after
/// growing times of up to 250 ms for the waits that take long.
///
/// ```
/// # use std::time::Duration;
/// use inbox::Waiter;
/// use outbox::ConsistencyToken;
///
/// // For each consumer once, in the service that owns the consumer's database.
/// fn waiter(pool: sqlx::PgPool) -> Waiter {
///     Waiter::new(pool, "billing", ["orders.#"])
/// }
///
/// // In the handler of a request, which shows what there is even if it is not the newest.
/// async fn read_own_writes(waiter: &Waiter, cookie: Option<&str>) {
///     let Some(token) = cookie.and_then(|text| text.parse::<ConsistencyToken>().ok()) else {
///         return;
///     };
///     if let Err(error) = waiter.wait(&token, Duration::from_secs(2)).await {
///         tracing::debug!(%error, "shows what there is");
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Waiter {
    polls: Arc<Polls<Records>>,
    topics: Arc<TopicPatterns>,
    source: Option<Arc<str>>,
}

impl Waiter {
    /// Creates a waiter for a consumer whose records are in the database of `pool`. The topics are the patterns that the
    /// consumer's queue is bound to, such as `orders.*` or `#`: messages of other topics never reach the consumer, and
    /// are not waited for. [`Consumer::waiter`](crate::Consumer::waiter) knows all three.
    ///
    /// The pool's user needs to read `inbox.processed`, `inbox.processed_other` and `inbox.parked`, as `inbox_consumer`
    /// may.
    pub fn new(
        pool: PgPool,
        consumer: impl Into<String>,
        topics: impl IntoIterator<Item: Into<String>>,
    ) -> Self {
        let topics = topics.into_iter().map(Into::into).collect();
        Self::with_statements(pool, Statements::Prepared, consumer.into(), topics)
    }

    pub(crate) fn with_statements(
        pool: PgPool,
        statements: Statements,
        consumer: String,
        topics: Vec<String>,
    ) -> Self {
        Self {
            polls: Arc::new(Polls::new(Records {
                pool,
                statements,
                consumer,
            })),
            topics: Arc::new(TopicPatterns::new(topics)),
            source: None,
        }
    }

    /// Sets the source of the messages, the `amqp.source` of the relay that publishes them. Needed only for messages whose
    /// id is no UUID version 7: a consumer records other ids together with their source.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Waits until the consumer has handled every message of the token that reaches it, for at most `longest`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// Fails after `longest`, at once for a message that is dead, and if the database could not be asked until then. The
    /// error names the first message that is not handled.
    pub async fn wait(&self, token: &ConsistencyToken, longest: Duration) -> Result<(), WaitError> {
        let deadline = Instant::now() + longest;
        for (topic, id) in token.messages() {
            if self.topics.matches(topic.as_str()) {
                self.wait_until(id, longest, deadline).await?;
            }
        }
        Ok(())
    }

    /// Waits until the consumer has handled one message, for at most `longest`.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_for(
        &self,
        id: impl Into<MessageId>,
        longest: Duration,
    ) -> Result<(), WaitError> {
        let deadline = Instant::now() + longest;
        self.wait_until(id.into(), longest, deadline).await
    }

    async fn wait_until(
        &self,
        message_id: MessageId,
        longest: Duration,
        deadline: Instant,
    ) -> Result<(), WaitError> {
        let text = message_id.to_string();
        let id = Id::new(&text, self.source.as_deref());
        let mut wait = self.polls.begin((text, id));
        let consumer = || self.polls.question().consumer.clone();
        match timeout_at(deadline, wait.ended()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(WaitError::Dead {
                consumer: consumer(),
                message_id,
                reason,
            }),
            Err(_) => Err(WaitError::TimedOut {
                consumer: consumer(),
                message_id,
                longest,
                state: match wait.last_seen() {
                    None => NotHandled::NotArrived,
                    Some(Ok(state)) => state,
                    Some(Err(cause)) => NotHandled::Unknown(cause),
                },
            }),
        }
    }
}
