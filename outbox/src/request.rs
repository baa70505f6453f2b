//! Requests: commands that are replied to.

use std::{fmt, str::FromStr, time::Duration};

use crate::MessageId;

/// The consumer that gets the reply to a request, and the time for which somebody waits for the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    consumer: String,
    longest: Duration,
}

impl ReplyTo {
    /// Names the consumer of the requesting service, and the longest time that a reply is of use.
    pub fn new(consumer: impl Into<String>, longest: Duration) -> Self {
        Self {
            consumer: consumer.into(),
            longest,
        }
    }

    /// Returns the consumer's name.
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// Returns the longest time that a reply is of use.
    pub const fn longest(&self) -> Duration {
        self.longest
    }
}

/// A request that was written, for whoever waits for its reply.
///
/// As a text, its id, the request travels to another process or in a URL. Inside a handler there is none: the handler's
/// request is not committed yet, and nobody could reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request(MessageId);

impl Request {
    pub(crate) const fn new(id: MessageId) -> Self {
        Self(id)
    }

    /// Returns the request's message id.
    pub const fn id(&self) -> MessageId {
        self.0
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Request {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}
