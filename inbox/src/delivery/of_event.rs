//! Deliveries of events, made without a broker.

use chrono::Utc;
use outbox::{Event, Message, PublishError};
use postroom_message::Incoming;

use super::{Delivery, clean};

impl Delivery {
    /// Creates a delivery of an event as its first delivery from the queue, with a fresh id (UUID version 7) and the
    /// time of this process: for tests of handlers, and for services that receive events on another way.
    ///
    /// ```
    /// # #[derive(serde::Serialize)]
    /// # struct OrderPlaced { order: i64 }
    /// # impl outbox::Event for OrderPlaced {
    /// #     const TOPIC: &'static str = "orders.placed";
    /// #     fn key(&self) -> Option<String> { None }
    /// # }
    /// # fn main() -> Result<(), outbox::PublishError> {
    /// use inbox::Delivery;
    ///
    /// let delivery = Delivery::of(&OrderPlaced { order: 7 })?;
    /// let traced = Delivery::of(&OrderPlaced { order: 7 })?
    ///     .with_message(|message| message.correlation_id = Some("checkout-1".into()));
    /// # assert_eq!(delivery.message().topic, "orders.placed");
    /// # assert_eq!(traced.message().correlation_id.as_deref(), Some("checkout-1"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Fails as publishing the event does.
    pub fn of<E: Event>(event: &E) -> Result<Self, PublishError> {
        // Checks topic, type, key and size as publishing does.
        let checked = Message::event(event)?;
        let body = serde_json::to_vec(event).map_err(PublishError::Serialize)?;
        let mut message = Incoming::default();
        message.message_id = Some(checked.message_id().to_string());
        message.topic = E::TOPIC.into();
        message.type_name = Some(E::TYPE.to_owned());
        message.version = Some(E::VERSION);
        message.key = event.key();
        message.content_type = Some("application/json".to_owned());
        message.occurred_at = Some(Utc::now());
        Ok(Self::new(message, body))
    }

    /// Changes the properties and headers of a delivery made by [`Delivery::of`]. Layers replace bodies only; see
    /// [`Delivery::with_body`].
    #[must_use]
    pub fn with_message(self, change: impl FnOnce(&mut Incoming)) -> Self {
        let mut message = Incoming::clone(&self.message);
        change(&mut message);
        Self {
            message: clean(message).into(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::Delivery;

    #[derive(Serialize)]
    struct Placed {
        order: i64,
    }

    impl outbox::Event for Placed {
        const TOPIC: &'static str = "orders.placed";
        const TYPE: &'static str = "placed";
        const VERSION: u32 = 3;

        fn key(&self) -> Option<String> {
            (self.order != 0).then(|| "k".repeat(self.order as usize))
        }
    }

    #[test]
    fn an_event_becomes_the_delivery_that_a_relay_would_send() {
        let delivery = Delivery::of(&Placed { order: 1 }).unwrap();
        let message = delivery.message();
        assert_eq!(message.topic, "orders.placed");
        assert_eq!(message.type_name.as_deref(), Some("placed"));
        assert_eq!(message.version, Some(3));
        assert_eq!(message.key.as_deref(), Some("k"));
        assert_eq!(delivery.body(), br#"{"order":1}"#);
        let other = Delivery::of(&Placed { order: 1 }).unwrap();
        assert_ne!(message.message_id, other.message().message_id);
    }

    #[test]
    fn an_event_that_cannot_be_published_is_refused() {
        let error = Delivery::of(&Placed { order: 256 }).unwrap_err();
        assert!(error.to_string().contains("key"), "{error}");
    }

    #[test]
    fn changed_properties_are_cleaned_as_received_ones_are() {
        let delivery = Delivery::of(&Placed { order: 0 }).unwrap();
        let changed = delivery.with_message(|message| {
            message.message_id = Some(String::new());
            message.correlation_id = Some("a\0".into());
        });
        assert_eq!(changed.message().message_id, None);
        let correlation = changed.message().correlation_id.as_deref();
        assert_eq!(correlation, Some("a\u{FFFD}"));
    }
}
