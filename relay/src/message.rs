//! A row of the outbox on its way to the broker.

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use outbox::{HeaderValue, Headers, wire};
use uuid::Uuid;

use crate::{capture::Position, row_decode::Unreadable};

/// A message as the relay holds it in memory.
#[derive(Debug, Clone)]
pub struct Message {
    /// Position of its row.
    pub position: Position,
    /// Its id.
    pub message_id: Uuid,
    /// What it is about.
    pub topic: Arc<str>,
    /// What it is ordered by.
    pub key: Option<Arc<str>>,
    /// Type of its body.
    pub type_name: Arc<str>,
    /// Content type of its body.
    pub content_type: Arc<str>,
    /// Its headers.
    pub headers: Headers,
    /// When it was written.
    pub occurred_at: DateTime<Utc>,
    /// When it may be published, if it has a time of its own.
    pub deliver_after: Option<DateTime<Utc>>,
    /// When it is to be dropped, if it has not been published by then.
    pub(crate) expires: Option<Instant>,
    /// Its body.
    pub payload: Vec<u8>,
    /// Why it can never be one; some of the above is made up then.
    pub(crate) unreadable: Option<Unreadable>,
}

/// Why a row can never be published; trying again cannot help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unpublishable {
    /// Something in it cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The broker cannot carry it.
    #[error(transparent)]
    Uncarriable(#[from] wire::Uncarriable),
}

impl Message {
    /// Memory that it takes, in bytes, roughly.
    pub fn bytes(&self) -> usize {
        let names = self.topic.len() + self.key.as_ref().map_or(0, |key| key.len());
        let header = |(name, value): (&str, &HeaderValue)| match value {
            HeaderValue::Text(text) => name.len() + 64 + text.len(),
            _ => name.len() + 64,
        };
        let headers: usize = self.headers.iter().map(header).sum();
        self.payload.len() + names + headers + 256
    }

    /// When it could first be published.
    pub(crate) fn due_at(&self) -> DateTime<Utc> {
        let after = self.deliver_after.unwrap_or(self.occurred_at);
        after.max(self.occurred_at)
    }

    /// Whether its time is over.
    pub(crate) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|time| time <= Instant::now())
    }

    /// Maps it to AMQP.
    ///
    /// # Errors
    /// Returns why it can never go.
    pub(crate) fn encode(&self, source: &str) -> Result<wire::Published, Unpublishable> {
        if let Some(unreadable) = &self.unreadable {
            return Err(unreadable.clone().into());
        }
        Ok(wire::encode(&wire::Outgoing {
            message_id: self.message_id,
            topic: &self.topic,
            key: self.key.as_deref(),
            type_name: &self.type_name,
            content_type: &self.content_type,
            headers: &self.headers,
            occurred_at: self.occurred_at,
            source,
        })?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::Utc;
    use outbox::Headers;
    use uuid::Uuid;

    use super::Message;

    /// A message with a body of a size.
    pub(crate) fn message(body: usize) -> Message {
        Message {
            position: 1,
            message_id: Uuid::nil(),
            topic: "t".into(),
            key: None,
            type_name: "t".into(),
            content_type: "text/plain".into(),
            headers: Headers::new(),
            occurred_at: Utc::now(),
            deliver_after: None,
            expires: None,
            payload: vec![0; body],
            unreadable: None,
        }
    }

    #[test]
    fn what_its_headers_say_counts_as_memory() {
        let mut message = message(100);
        let without = message.bytes();
        assert!(without > 100);
        let long = ("long".to_owned(), "x".repeat(1_000).into());
        message.headers = Headers::from_json([long].into_iter().collect());
        assert!(message.bytes() > without + 1_000);
    }
}
