//! Typed messages.

use serde::Serialize;

use crate::{Topic, TypeName};

/// Topic, type and version of an event's body: all that the inbox needs, beside `Deserialize`, to hand the body to a
/// handler.
///
/// Every [`Event`] is an `EventType`. A type that is only consumed needs no more than this trait, neither `Serialize`
/// nor a key, and may have fewer fields than the publisher's type. The derive macro `Event` implements this trait alone
/// with `#[event(topic = "…", consumed)]`. By hand:
///
/// ```
/// use outbox::EventType;
///
/// struct OrderPlaced {
///     cents: i64,
/// }
///
/// impl EventType for OrderPlaced {
///     const TOPIC: &'static str = "orders.placed";
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "derive `outbox::Event` for it, with `#[event(topic = \"…\", …)]`",
    note = "`consumed` in `#[event(…)]` is enough for a type that is only consumed; `key = …` or `unkeyed` is for one that is published too",
    note = "a handler takes its event as the last argument"
)]
pub trait EventType {
    /// Topic of the event; the routing key at the broker. The compiler refuses a topic that [`Topic::new`] refuses
    /// where the event is published or consumed.
    const TOPIC: &'static str;

    /// Name of the event's type, by which a consumer chooses the handler. Defaults to the topic.
    const TYPE: &'static str = Self::TOPIC;

    /// Version of the body's shape. Defaults to 1.
    const VERSION: u32 = 1;
}

/// A message with its own Rust type, serialised as JSON.
///
/// The derive macro of the same name implements the trait (feature `derive`, on by default). By hand:
///
/// ```
/// # use outbox::{Message, PublishError};
/// #[derive(serde::Serialize)]
/// struct OrderPlaced {
///     customer: i64,
/// }
///
/// impl outbox::Event for OrderPlaced {
///     const TOPIC: &'static str = "orders.placed";
///
///     fn key(&self) -> Option<String> {
///         Some(self.customer.to_string())
///     }
/// }
/// # fn main() -> Result<(), PublishError> {
/// # Message::event(&OrderPlaced { customer: 7 })?;
/// # Ok(()) }
/// ```
///
/// A consumer's handler takes the same type, which must implement `Deserialize` there, or another type of the same
/// topic and type that is only consumed: an [`EventType`].
///
/// Publishing an event whose topic or type could not be sent does not compile:
///
/// ```compile_fail,E0080
/// # use outbox::{Message, PublishError};
/// #[derive(serde::Serialize)]
/// struct OrderPlaced {
///     customer: i64,
/// }
///
/// impl outbox::Event for OrderPlaced {
///     const TOPIC: &'static str = "orders.*"; // holds a wildcard
///
///     fn key(&self) -> Option<String> {
///         Some(self.customer.to_string())
///     }
/// }
/// # fn main() -> Result<(), PublishError> {
/// # Message::event(&OrderPlaced { customer: 7 })?;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event that can be published",
    label = "derive `outbox::Event` for it, with `#[event(topic = \"…\", key = …)]`, and `Serialize`",
    note = "`unkeyed` in place of `key = …` is for an event that needs no order; one with `consumed` cannot be published",
    note = "raw bytes are published as `outbox::Message::bytes(topic, content_type, payload)`"
)]
pub trait Event: Serialize {
    /// Topic of the event; the routing key at the broker. The compiler refuses a topic that [`Topic::new`] refuses
    /// where the event is published or consumed.
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

// An error about `EventType` then names that trait, not `Event`, which is more than a consumer needs.
#[diagnostic::do_not_recommend]
impl<E: Event + ?Sized> EventType for E {
    const TOPIC: &'static str = <E as Event>::TOPIC;
    const TYPE: &'static str = <E as Event>::TYPE;
    const VERSION: u32 = <E as Event>::VERSION;
}

/// Checks an event's topic and type in a constant, so that the compiler refuses wrong ones. Publishing, and adding a
/// handler to a consumer, do so.
///
/// # Panics
/// Panics where [`Topic::new`] and [`TypeName::new`] fail, with the rule that is broken.
#[track_caller]
pub const fn assert_valid_event<E: EventType + ?Sized>() {
    Topic::assert_valid(E::TOPIC);
    TypeName::assert_valid(E::TYPE);
}
