//! Typed messages.

use serde::Serialize;

/// A message with its own Rust type, serialised as JSON.
///
/// The consumer's handler takes the same type, which must implement `Deserialize` there.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "implement `outbox::Event` for it: its topic, and the key that orders it",
    note = "a handler takes its event as the last argument",
    note = "raw bytes are published as `outbox::Message::bytes(topic, content_type, payload)`"
)]
pub trait Event: Serialize {
    /// Topic of the event; the routing key at the broker.
    const TOPIC: &'static str;

    /// Name of the event's type. Defaults to the topic.
    const TYPE: &'static str = Self::TOPIC;

    /// Version of the body's shape. Defaults to 1. Raise it with a change that older consumers cannot read: a
    /// message waits while its consumer knows only older versions, and the inbox's `ConsumerBuilder::upcast` brings
    /// older bodies to this version.
    const VERSION: u32 = 1;

    /// Returns the ordering key; `None` if the event is unordered.
    ///
    /// Events of one key reach every queue in the order in which their transactions committed, provided
    /// that writers of one key serialise before they publish.
    fn key(&self) -> Option<String>;
}
