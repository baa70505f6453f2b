//! A message to be published.

use chrono::{DateTime, Utc};

use crate::{
    Event, HeaderValue, Headers, Key, MessageContext, MessageId, PublishError, Topic, TypeName,
    headers::reserved,
    limits::{PAYLOAD_BYTES, SECONDS},
};

/// A message to be published: an [`Event`] with extras, or raw bytes.
///
/// ```
/// use outbox::Message;
///
/// # fn main() -> Result<(), outbox::PublishError> {
/// let message = Message::bytes("images.uploaded", "image/png", vec![0x89, b'P', b'N', b'G'])?
///     .key("album-7")?
///     .header("uploader", "anna")?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Message {
    pub(crate) id: MessageId,
    pub(crate) topic: Topic,
    pub(crate) key: Option<Key>,
    pub(crate) type_name: TypeName,
    pub(crate) content_type: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Headers,
    pub(crate) deliver_after: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) serialize_key: bool,
}

impl Message {
    /// Makes a message from an event, serialised as JSON.
    ///
    /// # Errors
    /// Fails if the event does not serialise, or if its topic, key, type or size cannot be carried.
    pub fn event<E: Event + ?Sized>(event: &E) -> Result<Self, PublishError> {
        let payload = serde_json::to_vec(event).map_err(PublishError::Serialize)?;
        let mut message = Self::bytes(E::TOPIC, "application/json", payload)?;
        message.type_name = TypeName::new(E::TYPE)?;
        message.key = event.key().map(Key::new).transpose()?;
        message
            .headers
            .set(reserved::EVENT_VERSION, i64::from(E::VERSION));
        Ok(message)
    }

    /// Makes a message from bytes. Its type is the topic unless set.
    ///
    /// # Errors
    /// Fails if the topic, the content type or the size cannot be carried.
    pub fn bytes(
        topic: &str,
        content_type: &str,
        payload: impl Into<Vec<u8>>,
    ) -> Result<Self, PublishError> {
        let payload = payload.into();
        if payload.len() > PAYLOAD_BYTES {
            return Err(PublishError::TooLarge {
                field: "payload",
                bytes: payload.len(),
                limit: PAYLOAD_BYTES,
            });
        }
        TypeName::new(content_type)
            .map_err(|_| PublishError::ContentType(content_type.to_owned()))?;
        Ok(Self {
            id: MessageId::new(),
            topic: Topic::new(topic)?,
            key: None,
            type_name: TypeName::new(topic)?,
            content_type: content_type.to_owned(),
            payload,
            headers: Headers::new(),
            deliver_after: None,
            expires_at: None,
            serialize_key: false,
        })
    }

    /// Sets the id. Defaults to a fresh UUID version 7.
    ///
    /// Use an id of your own to retry a commit whose outcome is unknown: if both attempts
    /// committed, consumers handle the message once. An id that is not a UUID version 7 is
    /// remembered by consumers too, at a higher cost.
    #[must_use]
    pub fn id(mut self, id: impl Into<MessageId>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the key, in whose order the message is delivered. Defaults to the event's, or none.
    ///
    /// # Errors
    /// Fails if the key is empty, longer than 255 bytes or holds control characters.
    pub fn key(mut self, key: impl Into<String>) -> Result<Self, PublishError> {
        self.key = Some(Key::new(key)?);
        Ok(self)
    }

    /// Sets the type. Defaults to the event's, or to the topic.
    ///
    /// # Errors
    /// Fails if the type is empty, longer than 255 bytes or holds control characters.
    pub fn type_name(mut self, name: impl Into<String>) -> Result<Self, PublishError> {
        self.type_name = TypeName::new(name)?;
        Ok(self)
    }

    /// Adds a header.
    ///
    /// # Errors
    /// Fails if the name is longer than 128 bytes, one that Postroom sets itself, one that RabbitMQ
    /// sets or reads (`x-death` and the like), or `CC` or `BCC`, by which it would route the message
    /// elsewhere. A number that is not finite is found when the message is published.
    pub fn header(
        mut self,
        name: &str,
        value: impl Into<HeaderValue>,
    ) -> Result<Self, PublishError> {
        Headers::check_name(name)?;
        self.headers.set(name, value);
        Ok(self)
    }

    /// Holds the message back until a time, by the database's clock. Defaults to none.
    ///
    /// A message held back leaves the order of its key. Consumers take one that is older than their dedup
    /// window, by default 30 days, for stale, and do not handle it. Publishing refuses a time outside
    /// of the years 1 to 9999.
    #[must_use]
    pub fn deliver_after(mut self, time: DateTime<Utc>) -> Self {
        self.deliver_after = Some(time);
        self
    }

    /// Drops the message, and counts it, if it was not published by then. Defaults to never.
    ///
    /// Publishing refuses a time outside of the years 1 to 9999.
    #[must_use]
    pub fn expires_at(mut self, time: DateTime<Utc>) -> Self {
        self.expires_at = Some(time);
        self
    }

    /// Takes a lock on the key until the transaction ends, before the message is written.
    ///
    /// For writers that do not lock or update a row of the key's aggregate first. Without either,
    /// two transactions can commit in another order than that of their messages.
    #[must_use]
    pub fn serialize_key(mut self) -> Self {
        self.serialize_key = true;
        self
    }

    /// Sets correlation, causation and trace, as far as the context has them. Default to those of the
    /// surrounding [`scope`](crate::context::scope).
    #[must_use]
    pub fn context(mut self, context: &MessageContext) -> Self {
        for (name, value) in carried(context) {
            if let Some(value) = value {
                self.headers.set(name, value.as_str());
            }
        }
        self
    }

    /// Returns the id that the message will have.
    pub const fn message_id(&self) -> MessageId {
        self.id
    }

    /// Checks that relays take the message's times.
    pub(crate) fn check_times(&self) -> Result<(), PublishError> {
        let times = [
            ("deliver_after", self.deliver_after),
            ("expires_at", self.expires_at),
        ];
        for (field, time) in times {
            if let Some(time) = time.filter(|time| !SECONDS.contains(&time.timestamp())) {
                return Err(PublishError::Time { field, time });
            }
        }
        Ok(())
    }

    /// Fills in what the message inherits, where it does not say so itself.
    pub(crate) fn inherit(&mut self, context: &MessageContext) {
        for (name, value) in carried(context) {
            if let (Some(value), None) = (value, self.headers.text(name)) {
                self.headers.set(name, value.as_str());
            }
        }
    }
}

/// What a context has for a message, by the names of headers.
const fn carried(context: &MessageContext) -> [(&'static str, &Option<String>); 3] {
    [
        (reserved::CORRELATION_ID, &context.correlation_id),
        (reserved::CAUSATION_ID, &context.causation_id),
        (reserved::TRACEPARENT, &context.traceparent),
    ]
}

/// What can be published: a [`Message`], or a reference to an [`Event`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be published",
    label = "expected an `outbox::Message` or a reference to an `outbox::Event`"
)]
pub trait IntoMessage {
    /// Makes the message.
    ///
    /// # Errors
    /// Fails as [`Message::event`] does.
    fn into_message(self) -> Result<Message, PublishError>;
}

impl IntoMessage for Message {
    fn into_message(self) -> Result<Message, PublishError> {
        Ok(self)
    }
}

impl<E: Event + ?Sized> IntoMessage for &E {
    fn into_message(self) -> Result<Message, PublishError> {
        Message::event(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Message;
    use crate::{MessageContext, headers::reserved};

    #[test]
    fn of_a_context_that_is_said_the_last_word_counts_and_one_that_is_inherited_fills_gaps() {
        let said = MessageContext::new()
            .correlation_id("order-1")
            .causation_id("click");
        let message = Message::bytes("orders.placed", "text/plain", *b"1")
            .unwrap()
            .context(&said);
        let mut message = message.context(&MessageContext::new().causation_id("retry"));
        let around = MessageContext::new()
            .causation_id("job")
            .traceparent("00-1-2-01");
        message.inherit(&around);
        let text = |name| message.headers.text(name);
        assert_eq!(text(reserved::CORRELATION_ID), Some("order-1"));
        assert_eq!(text(reserved::CAUSATION_ID), Some("retry"));
        assert_eq!(text(reserved::TRACEPARENT), Some("00-1-2-01"));
    }
}
