//! A message in the relay's memory, between the outbox and the broker.

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use outbox::{HeaderValue, Headers};
use relay_core::capture::Position;
use uuid::Uuid;

use crate::store::sql::row_decode::Unreadable;

/// A message in the relay's memory.
#[derive(Debug, Clone)]
pub struct Message {
    /// Position of the message's row.
    pub position: Position,
    /// Id of the message.
    pub message_id: Uuid,
    /// Topic.
    pub topic: Arc<str>,
    /// Ordering key; `None` if unordered.
    pub key: Option<Arc<str>>,
    /// Type of the body.
    pub type_name: Arc<str>,
    /// Content type of the body.
    pub content_type: Arc<str>,
    /// Headers.
    pub headers: Headers,
    /// Time of writing, by the database's clock.
    pub occurred_at: DateTime<Utc>,
    /// Earliest time of publication; `None` for a message that is not scheduled.
    pub deliver_after: Option<DateTime<Utc>>,
    /// Time after which the unpublished message is dropped; `None` if it never expires.
    pub(crate) expires: Option<Instant>,
    /// Body.
    pub payload: Vec<u8>,
    /// Reason why the row can never be published; some other fields then hold replacement values. `None` if
    /// the row is readable.
    pub(crate) unreadable: Option<Unreadable>,
}

impl Message {
    /// Makes a message that is due, for tests of transports.
    #[doc(hidden)]
    pub fn new(topic: &str, payload: Vec<u8>) -> Self {
        Self {
            position: 1,
            message_id: Uuid::now_v7(),
            topic: topic.into(),
            key: None,
            type_name: topic.into(),
            content_type: "text/plain".into(),
            headers: Headers::new(),
            occurred_at: Utc::now(),
            deliver_after: None,
            expires: None,
            payload,
            unreadable: None,
        }
    }

    /// Returns the approximate memory of the message, in bytes.
    pub fn bytes(&self) -> usize {
        let names = self.topic.len() + self.key.as_ref().map_or(0, |key| key.len());
        let header = |(name, value): (&str, &HeaderValue)| match value {
            HeaderValue::Text(text) => name.len() + 64 + text.len(),
            _ => name.len() + 64,
        };
        let headers: usize = self.headers.iter().map(header).sum();
        self.payload.len() + names + headers + 256
    }

    /// Returns the time at which the message could first be published.
    pub(crate) fn due_at(&self) -> DateTime<Utc> {
        let after = self.deliver_after.unwrap_or(self.occurred_at);
        after.max(self.occurred_at)
    }

    /// Returns `true` if the message has expired.
    pub(crate) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|time| time <= Instant::now())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use outbox::Headers;

    use super::Message;

    /// Makes a message with a body of `body` bytes.
    pub(crate) fn message(body: usize) -> Message {
        Message::new("t", vec![0; body])
    }

    #[test]
    fn header_texts_count_as_memory() {
        let mut message = message(100);
        let without = message.bytes();
        assert!(without > 100);
        let long = ("long".to_owned(), "x".repeat(1_000).into());
        message.headers = Headers::from_json([long].into_iter().collect());
        assert!(message.bytes() > without + 1_000);
    }
}
