//! Typed messages.

use serde::Serialize;

/// A message with a type of its own, serialised as JSON.
///
/// The consumer's handler takes the same type, where it also implements `Deserialize`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "implement `outbox::Event` for it: its topic, and the key that orders it",
    note = "raw bytes are published as `outbox::Message::bytes(topic, content_type, payload)`"
)]
pub trait Event: Serialize {
    /// What the event is about; the routing key at the broker.
    const TOPIC: &'static str;

    /// Name of the event's type. Defaults to the topic.
    const TYPE: &'static str = Self::TOPIC;

    /// Version of the body's shape. Defaults to 1. Consumers are told; it chooses no handler.
    const VERSION: u32 = 1;

    /// What the event is ordered by; `None` for no order.
    ///
    /// Events of one key reach every queue in the order in which their transactions committed,
    /// provided that writers of one key serialise before they publish.
    fn key(&self) -> Option<String>;
}
