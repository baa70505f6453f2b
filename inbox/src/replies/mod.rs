//! Waiting, outside of handlers, for the reply to a request.

mod error;
mod look;

use std::{sync::Arc, time::Duration};

use outbox::{EventType, Request};
use serde::de::DeserializeOwned;
use sqlx::PgPool;
use statement::Statements;
use tokio::time::timeout;

pub use error::NoReply;
use look::KeptRows;

use crate::{Fault, polling::Polls, sql::replies::Kept};

/// Waits for the replies that a consumer keeps ([`keep_replies`](crate::ConsumerBuilder::keep_replies)): for an HTTP
/// request that is to be answered with the reply of another service.
///
/// Cheap to clone. All waits of a `Replies` and its clones share one connection of the pool and one statement for each
/// look, so make one for each consumer.
///
/// ```
/// # use std::time::Duration;
/// # use outbox::{Outbox, ReplyTo};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct GrantCredit { customer: i64 }
/// # impl outbox::Event for GrantCredit {
/// #     const TOPIC: &'static str = "credits.grant";
/// #     fn key(&self) -> Option<String> { None }
/// # }
/// # #[derive(Serialize, Deserialize)]
/// # struct CreditGranted { cents: i64 }
/// # impl outbox::Event for CreditGranted {
/// #     const TOPIC: &'static str = "credits.granted";
/// #     fn key(&self) -> Option<String> { None }
/// # }
/// # async fn f(pool: sqlx::PgPool, replies: inbox::Replies) -> anyhow::Result<i64> {
/// let longest = Duration::from_secs(5);
/// let mut tx = outbox::transaction::begin(&pool).await?;
/// let request = Outbox::new()
///     .request(&mut tx, "credits", &GrantCredit { customer: 7 }, &ReplyTo::new("accounts", longest))
///     .await?;
/// tx.commit().await?;
/// let granted: CreditGranted = replies.wait(request, longest).await?;
/// # Ok(granted.cents)
/// # }
/// ```
///
/// A handler's own request is not committed while the handler runs, so nobody can wait for its reply there, and this does
/// not compile:
///
/// ```compile_fail,E0308
/// # use std::time::Duration;
/// # use outbox::ReplyTo;
/// # async fn f(mut ctx: inbox::Context, replies: inbox::Replies, grant: outbox::Message) -> anyhow::Result<()> {
/// let longest = Duration::from_secs(5);
/// let id = ctx.request("credits", grant, &ReplyTo::new("accounts", longest)).await?;
/// replies.wait_for_any(id, longest).await?; // expected `Request`, found `MessageId`
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Replies {
    polls: Arc<Polls<KeptRows>>,
}

impl Replies {
    /// Waits for the replies that this consumer keeps in the database of `pool`.
    /// [`Consumer::replies`](crate::Consumer::replies) does the same for a consumer.
    ///
    /// The pool's user needs to read `inbox.reply`, as `inbox_consumer` may.
    pub fn new(pool: PgPool, consumer: impl Into<String>) -> Self {
        Self::with_statements(pool, Statements::Prepared, consumer.into())
    }

    pub(crate) fn with_statements(pool: PgPool, statements: Statements, consumer: String) -> Self {
        Self {
            polls: Arc::new(Polls::new(KeptRows {
                pool,
                statements,
                consumer,
            })),
        }
    }

    /// Waits for the reply to a request, for at most `longest`, and decodes it as JSON.
    ///
    /// A reply that comes later is kept nevertheless: another call finds it, in any process. Cancel safe.
    ///
    /// # Errors
    /// Fails after `longest`, if the request was given up ([`NoReply::Fault`]), or if the reply is of another type.
    pub async fn wait<E: EventType + DeserializeOwned>(
        &self,
        request: Request,
        longest: Duration,
    ) -> Result<E, NoReply> {
        self.wait_for_any(request, longest).await?.decode()
    }

    /// Waits for the reply to a request, of whatever type, for at most `longest`. Cancel safe.
    ///
    /// # Errors
    /// Fails after `longest`, or if the request was given up.
    pub async fn wait_for_any(
        &self,
        request: Request,
        longest: Duration,
    ) -> Result<Reply, NoReply> {
        let mut wait = self.polls.begin(request.id().as_uuid());
        let Ok(kept) = timeout(longest, wait.ended()).await else {
            return Err(NoReply::TimedOut {
                request,
                longest,
                problem: wait.last_seen().and_then(Result::err),
            });
        };
        let reply = Reply { request, kept };
        match reply.type_name() {
            <Fault as EventType>::TYPE => Err(NoReply::Fault(reply.decode()?)),
            _ => Ok(reply),
        }
    }
}

/// The reply to a request.
#[derive(Debug, Clone)]
pub struct Reply {
    request: Request,
    kept: Kept,
}

impl Reply {
    /// Returns the type of the reply's body.
    pub fn type_name(&self) -> &str {
        &self.kept.type_name
    }

    /// Returns the version of the body; `None` if the reply has none.
    pub fn version(&self) -> Option<u32> {
        self.kept
            .version
            .and_then(|version| version.try_into().ok())
    }

    /// Returns the content type of the body; `None` if the reply has none.
    pub fn content_type(&self) -> Option<&str> {
        self.kept.content_type.as_deref()
    }

    /// Returns the body.
    pub fn body(&self) -> &[u8] {
        &self.kept.payload
    }

    /// Decodes the body as JSON.
    ///
    /// # Errors
    /// Fails if the reply is of another type, or of a newer version than `E`, or if the body is not an `E`.
    pub fn decode<E: EventType + DeserializeOwned>(&self) -> Result<E, NoReply> {
        let unreadable = |source| NoReply::Unreadable {
            request: self.request,
            type_name: self.kept.type_name.clone(),
            expected: E::TYPE,
            source,
        };
        let is_known = self.type_name() == E::TYPE && self.version() <= Some(E::VERSION);
        if !is_known {
            return Err(unreadable(None));
        }
        serde_json::from_slice(self.body()).map_err(|error| unreadable(Some(error)))
    }
}
