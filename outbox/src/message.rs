//! A message to be published.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use postroom_message::{recipient, reserved};

use crate::{
    Event, HeaderValue, Headers, Key, MessageContext, MessageId, PublishError, ReplyTo, Topic,
    TypeName, assert_valid_event, limits::PAYLOAD_BYTES,
};

/// Years 1 to 9999 in seconds since 1970: the range that RFC 3339 can write and relays accept.
const SECONDS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// A message to be published: an [`Event`] with options, or raw bytes.
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
#[derive(Clone)]
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
    /// The compiler refuses an event whose topic or type is not allowed.
    ///
    /// # Errors
    /// Fails if the event does not serialise, or if its key or size is not allowed.
    pub fn event<E: Event + ?Sized>(event: &E) -> Result<Self, PublishError> {
        const { assert_valid_event::<E>() }
        let payload = serde_json::to_vec(event).map_err(PublishError::Serialize)?;
        let mut message = Self::bytes(E::TOPIC, "application/json", payload)?;
        message.type_name = TypeName::new(E::TYPE)?;
        message.key = event.key().map(Key::new).transpose()?;
        message
            .headers
            .set(reserved::EVENT_VERSION, i64::from(E::VERSION));
        Ok(message)
    }

    /// Makes a message from bytes. The type is the topic unless set with [`type_name`](Self::type_name).
    ///
    /// # Errors
    /// Fails if the topic, the content type or the size is not allowed.
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
    /// Set your own id to retry a commit whose outcome is unknown: if both attempts committed, consumers
    /// handle the message once. Consumers also remember ids that are not UUIDs version 7, at a higher cost.
    #[must_use]
    pub fn id(mut self, id: impl Into<MessageId>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the ordering key: messages of one key are delivered in commit order. Defaults to the event's
    /// key, or none.
    ///
    /// # Errors
    /// Fails if the key is empty, longer than 255 bytes or holds control characters.
    pub fn key(mut self, key: impl Into<String>) -> Result<Self, PublishError> {
        self.key = Some(Key::new(key)?);
        Ok(self)
    }

    /// Sets the type. Defaults to the event's type, or to the topic.
    ///
    /// # Errors
    /// Fails if the type is empty, longer than 255 bytes or holds control characters.
    pub fn type_name(mut self, name: impl Into<String>) -> Result<Self, PublishError> {
        self.type_name = TypeName::new(name)?;
        Ok(self)
    }

    /// Adds a header, or replaces the header of the same name.
    ///
    /// # Errors
    /// Fails if the name is empty or longer than 128 bytes, is set by Postroom itself, or is set or read by
    /// RabbitMQ (`x-death` and the like; `CC` and `BCC`, which would route the message elsewhere). Numbers
    /// that are not finite are refused only when the message is published.
    pub fn header(
        mut self,
        name: &str,
        value: impl Into<HeaderValue>,
    ) -> Result<Self, PublishError> {
        Headers::check_name(name)?;
        self.headers.set(name, value);
        Ok(self)
    }

    /// Holds the message back until a time of the database's clock. By default a message is published at
    /// once.
    ///
    /// A message held back leaves the order of its key. Consumers treat a message older than their dedup
    /// window, by default 30 days, as stale and do not handle it. Publishing refuses times outside the
    /// years 1 to 9999.
    #[must_use]
    pub fn deliver_after(mut self, time: DateTime<Utc>) -> Self {
        self.deliver_after = Some(time);
        self
    }

    /// Sets the time after which a message that is still unpublished is dropped and counted. By default
    /// messages never expire.
    ///
    /// Publishing refuses times outside the years 1 to 9999.
    #[must_use]
    pub fn expires_at(mut self, time: DateTime<Utc>) -> Self {
        self.expires_at = Some(time);
        self
    }

    /// Locks the key until the transaction ends, before the message is written.
    ///
    /// Use it where writers do not lock or update a row of the key's aggregate first. Without either lock,
    /// two transactions can commit in another order than their messages have.
    #[must_use]
    pub fn serialize_key(mut self) -> Self {
        self.serialize_key = true;
        self
    }

    /// Sets those of the correlation id, causation id and trace that the context has. Defaults to the
    /// context of the surrounding [`scope`](crate::context::scope).
    #[must_use]
    pub fn context(mut self, context: &MessageContext) -> Self {
        for (name, value) in carried(context) {
            if let Some(value) = value {
                self.headers.set(name, value.as_str());
            }
        }
        self
    }

    /// Sends the message to one consumer, in place of everybody who listens to its topic: the message is a command.
    ///
    /// The consumer takes it through its own exchange, `postroom.in.<consumer>`, if a handler was added with the inbox's
    /// `ConsumerBuilder::on_command`; until that exchange exists the message is kept and tried again. The type chooses
    /// the handler, as for any message; the topic is gone.
    ///
    /// # Errors
    /// Fails if the name is empty, longer than 243 bytes, or holds a wildcard or a control character.
    pub fn to(mut self, consumer: &str) -> Result<Self, PublishError> {
        let name = Topic::new(consumer)?;
        self.topic = Topic::new(recipient::exchange(name.as_str()))?;
        Ok(self)
    }

    /// Makes the message a request: the consumer that `reply_to` names gets the reply.
    pub(crate) fn requesting(mut self, reply_to: &ReplyTo) -> Self {
        let by = Utc::now() + reply_to.longest();
        let text = by.to_rfc3339_opts(SecondsFormat::Micros, true);
        self.headers.set(reserved::REPLY_TO, reply_to.consumer());
        self.headers.set(reserved::REPLY_BY, text);
        self.expires_at.get_or_insert(by);
        self
    }

    /// Makes the message the reply to a request, for the consumer that the request names.
    ///
    /// The inbox's `Context::reply` does this with the handled request.
    ///
    /// # Errors
    /// As [`to`](Self::to).
    pub fn replying(self, consumer: &str, request: &str) -> Result<Self, PublishError> {
        let mut reply = self.to(consumer)?;
        reply.headers.set(reserved::IN_REPLY_TO, request);
        Ok(reply)
    }

    /// Returns the message's id.
    pub const fn message_id(&self) -> MessageId {
        self.id
    }

    /// Checks that the message's times lie in the range that relays accept.
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

    /// Copies from the context every id that the message has not set itself.
    pub(crate) fn inherit(&mut self, context: &MessageContext) {
        for (name, value) in carried(context) {
            if let (Some(value), None) = (value, self.headers.text(name)) {
                self.headers.set(name, value.as_str());
            }
        }
    }
}

/// Returns the fields of a context with the names of the headers that carry them.
const fn carried(context: &MessageContext) -> [(&'static str, &Option<String>); 4] {
    [
        (reserved::CORRELATION_ID, &context.correlation_id),
        (reserved::CAUSATION_ID, &context.causation_id),
        (reserved::TRACEPARENT, &context.traceparent),
        (reserved::TRACESTATE, &context.tracestate),
    ]
}

impl fmt::Debug for Message {
    /// Shows the message without its body, which may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("key", &self.key)
            .field("type_name", &self.type_name)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use postroom_message::reserved;

    use super::Message;
    use crate::MessageContext;

    #[test]
    fn the_last_explicit_context_wins_and_the_inherited_context_fills_gaps() {
        let explicit = MessageContext::new()
            .correlation_id("order-1")
            .causation_id("click");
        let message = Message::bytes("orders.placed", "text/plain", *b"1")
            .unwrap()
            .context(&explicit);
        let mut message = message.context(&MessageContext::new().causation_id("retry"));
        let inherited = MessageContext::new()
            .causation_id("job")
            .traceparent("00-1-2-01");
        message.inherit(&inherited);
        let text = |name| message.headers.text(name);
        assert_eq!(text(reserved::CORRELATION_ID), Some("order-1"));
        assert_eq!(text(reserved::CAUSATION_ID), Some("retry"));
        assert_eq!(text(reserved::TRACEPARENT), Some("00-1-2-01"));
    }
}
