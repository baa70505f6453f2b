//! A row of the outbox on its way to the broker.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use outbox::{Headers, wire};
use uuid::Uuid;

use crate::capture::Position;

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
    /// Its body.
    pub payload: Vec<u8>,
}

impl Message {
    /// Memory that it takes, in bytes, roughly.
    pub fn bytes(&self) -> usize {
        let names = self.topic.len() + self.key.as_ref().map_or(0, |key| key.len());
        let headers: usize = self.headers.iter().map(|(name, _)| name.len() + 64).sum();
        self.payload.len() + names + headers + 256
    }

    /// Maps it to AMQP.
    pub(crate) fn encode(&self, source: &str) -> Result<wire::Published, wire::Uncarriable> {
        wire::encode(&wire::Outgoing {
            message_id: self.message_id,
            topic: &self.topic,
            key: self.key.as_deref(),
            type_name: &self.type_name,
            content_type: &self.content_type,
            headers: &self.headers,
            occurred_at: self.occurred_at,
            source,
        })
    }
}
