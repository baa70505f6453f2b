//! Idempotency keys: by which events of one meaning are handled once, and for how long a consumer remembers them.

use std::time::Duration;

use crate::{Delivery, decision::LONGEST, delivery::storable_name};

/// Time for which a consumer remembers an idempotency key, counted from the transaction that handled its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remember {
    /// For this time, at most 100 years. Afterwards an event with the key is handled again. Choose a time that is
    /// longer than the latest repetition of an event.
    For(Duration),
    /// For ever. The table `inbox.idempotency_key` then grows by a row for each key, 160 to 260 bytes, and nothing but
    /// a person deletes rows from it.
    Forever,
}

impl Remember {
    /// Returns the time in seconds; `None` for ever.
    pub(crate) fn seconds(self) -> Option<f64> {
        match self {
            Self::For(time) => Some(time.min(LONGEST).as_secs_f64()),
            Self::Forever => None,
        }
    }
}

/// The idempotency keys of the events of one call of a handler.
#[derive(Debug)]
pub(crate) struct EventKeys {
    /// Name of the events' type. Two types may use the same texts as keys.
    pub(crate) type_name: &'static str,
    pub(crate) remember: Remember,
    /// At least one key.
    pub(crate) keys: Vec<EventKey>,
}

/// The idempotency key of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventKey {
    /// Place of the event among those of the call, from 0.
    pub(crate) position: usize,
    /// At most 255 bytes, and not empty.
    pub(crate) text: String,
    pub(crate) message_id: Option<String>,
}

impl EventKey {
    /// Creates the key of an event from the text that the service made; `None` if the text is empty, since all events
    /// without a text would have one meaning.
    ///
    /// A text of more than 255 bytes, or with a NUL character, is replaced by its SHA-256.
    pub(crate) fn new(position: usize, text: String, delivery: &Delivery) -> Option<Self> {
        (!text.is_empty()).then(|| Self {
            position,
            text: storable_name(text),
            message_id: delivery.message().message_id.clone(),
        })
    }
}

/// An event that is a duplicate by meaning: another event with its idempotency key was handled before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DuplicateKey {
    pub(crate) type_name: &'static str,
    pub(crate) key: EventKey,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postroom_message::Incoming;

    use super::{EventKey, Remember};
    use crate::Delivery;

    fn text(text: &str) -> Option<String> {
        let delivery = Delivery::new(Incoming::default(), Vec::new());
        EventKey::new(0, text.to_owned(), &delivery).map(|key| key.text)
    }

    #[test]
    fn an_empty_key_is_none() {
        assert_eq!(text(""), None);
        assert_eq!(text("7").as_deref(), Some("7"));
    }

    #[test]
    fn keys_that_the_table_cannot_hold_stay_different() {
        assert_eq!(text(&"x".repeat(255)), Some("x".repeat(255)));
        let long = |end: &str| text(&("x".repeat(255) + end)).unwrap();
        assert!(long("a").starts_with("sha256:"));
        assert_ne!(long("a"), long("b"));
        assert_ne!(text("a\0"), text("a\u{FFFD}"));
    }

    #[test]
    fn the_longest_time_fits_the_databases_calendar() {
        let seconds = Remember::For(Duration::MAX).seconds().unwrap();
        assert!((seconds - 86_400.0 * 36_500.0).abs() < 1.0);
        assert_eq!(Remember::Forever.seconds(), None);
    }
}
