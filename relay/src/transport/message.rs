//! A message as a transport publishes it.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use outbox::{HeaderValue, Headers};
use uuid::Uuid;

/// A message as a transport publishes it.
#[derive(Clone)]
pub struct Message {
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
    /// Body.
    pub payload: Vec<u8>,
}

impl Message {
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
}

impl fmt::Debug for Message {
    /// Shows the message without its body and its headers, which may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("message_id", &self.message_id)
            .field("topic", &self.topic)
            .field("key", &self.key)
            .field("type_name", &self.type_name)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use outbox::Headers;
    use uuid::Uuid;

    use super::Message;

    #[test]
    fn header_texts_count_as_memory() {
        let mut message = Message {
            message_id: Uuid::now_v7(),
            topic: "t".into(),
            key: None,
            type_name: "t".into(),
            content_type: "text/plain".into(),
            headers: Headers::new(),
            occurred_at: Utc::now(),
            payload: vec![0; 100],
        };
        let without = message.bytes();
        assert!(without > 100);
        let long = ("long".to_owned(), "x".repeat(1_000).into());
        message.headers = Headers::from_json([long].into_iter().collect());
        assert!(message.bytes() > without + 1_000);
    }
}
