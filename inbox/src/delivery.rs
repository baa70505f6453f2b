//! A message as it passes through the services to a handler.

mod of_event;

use std::{fmt, fmt::Write, sync::Arc};

use outbox::{Headers, limits::NAME_BYTES};
use postroom_message::Incoming;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::handler::{BoxError, Disposition, HandlerError, Step};

/// A message with its body, as the inbox passes it to a transaction and to the handler.
///
/// Cheap to clone: clones share the message and the body.
#[derive(Clone)]
pub struct Delivery {
    message: Arc<Incoming>,
    body: Arc<[u8]>,
    /// The body as received, which is the one that is parked: a layer may have replaced `body`.
    received: Arc<[u8]>,
    origin: Origin,
    attempt: u32,
    /// `true` if the transaction is rolled back after the handler has succeeded.
    is_rehearsed: bool,
}

/// The origin of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The queue: the id is recorded before the handler runs.
    Queue,
    /// `inbox.parked`: the id was recorded when the delivery was parked.
    Parked {
        /// Id of the row.
        id: i64,
        /// The row's attempts, this one included. Each claim of the row has another number.
        attempts: i32,
    },
}

impl Delivery {
    /// Creates a delivery, as received from the queue for the first time.
    ///
    /// An admission layer must not pass on a delivery created here in place of the one it was given: the new
    /// one lacks the origin. Use [`Delivery::with_body`].
    ///
    /// Some properties are changed:
    ///
    /// - NUL characters, which PostgreSQL cannot store, are replaced by U+FFFD. An id, source or key that
    ///   contains one is replaced by its SHA-256, so that different values stay different.
    /// - An empty id counts as no id, since all messages with an empty id would be duplicates of the first.
    ///   An empty key counts as no key.
    /// - A key of more than 255 bytes is replaced by its SHA-256, which keeps the order.
    pub fn new(message: Incoming, body: impl Into<Arc<[u8]>>) -> Self {
        let body = body.into();
        Self {
            message: Arc::new(clean(message)),
            received: Arc::clone(&body),
            body,
            origin: Origin::Queue,
            attempt: 1,
            is_rehearsed: false,
        }
    }

    /// Replaces the body, for an admission layer that decrypts or unpacks it. Keeps everything else, the
    /// origin included. If the delivery is parked, the body as received is stored.
    #[must_use]
    pub fn with_body(self, body: impl Into<Arc<[u8]>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// Creates a delivery from a claimed row of `inbox.parked`.
    pub(crate) fn parked(message: Incoming, body: Vec<u8>, id: i64, attempts: i32) -> Self {
        let body = Arc::from(body);
        Self {
            message: Arc::new(message),
            received: Arc::clone(&body),
            body,
            origin: Origin::Parked { id, attempts },
            attempt: attempts.max(1) as u32,
            is_rehearsed: false,
        }
    }

    pub(crate) fn with_attempt(&self, attempt: u32) -> Self {
        Self {
            attempt,
            ..self.clone()
        }
    }

    /// Returns the delivery for a transaction that is rolled back after the handler has succeeded.
    pub(crate) fn rehearsed(self) -> Self {
        Self {
            is_rehearsed: true,
            ..self
        }
    }

    pub(crate) const fn is_rehearsed(&self) -> bool {
        self.is_rehearsed
    }

    /// Returns the message's properties and headers, without its body.
    pub fn message(&self) -> &Incoming {
        &self.message
    }

    /// Returns the body: as received, unless a layer replaced it.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Decodes the body as JSON, after the steps from its version to the event's.
    ///
    /// # Errors
    /// Fails as undecodable, and names the failed step.
    pub(crate) fn decode_after<E: DeserializeOwned>(
        &self,
        steps: &[Step],
    ) -> Result<E, HandlerError> {
        if steps.is_empty() {
            return self.decode();
        }
        let body: serde_json::Value = self.decode()?;
        let body = steps.iter().try_fold(body, |body, step| step.run(body))?;
        let decoded = serde_json::from_value(body);
        decoded.map_err(|error| HandlerError::new(Disposition::Undecodable, error))
    }

    /// Decodes the body as JSON.
    ///
    /// # Errors
    /// Fails as undecodable, and names the property that tells why the body is no JSON.
    fn decode<E: DeserializeOwned>(&self) -> Result<E, HandlerError> {
        let undecodable = |error: BoxError| HandlerError::new(Disposition::Undecodable, error);
        let is_received = Arc::ptr_eq(&self.body, &self.received);
        let encoding = self.message.foreign_encoding();
        if let Some(encoding) = encoding.filter(|_| is_received) {
            let text = format!(
                "content_encoding {encoding:?}: the inbox unpacks no bodies; publish the body as it is, or unpack it in a layer"
            );
            return Err(undecodable(text.into()));
        }
        // Clients of .NET may begin a text with this mark.
        let text = self.body.strip_prefix("\u{FEFF}".as_bytes());
        let decoded = serde_json::from_slice(text.unwrap_or(&self.body));
        decoded.map_err(|error| {
            undecodable(match self.sign_of_no_json() {
                Some(property) => format!("{property}: {error}").into(),
                None => error.into(),
            })
        })
    }

    /// Returns the property by which the body may be no JSON.
    fn sign_of_no_json(&self) -> Option<String> {
        // kombu names the compression here, and the body's encoding before it in `content_encoding`.
        let compression = self.message.headers.text("compression");
        let compression = compression.map(|name| format!("header \"compression\" {name:?}"));
        let content_type = self.message.content_type.as_deref();
        let other_type = content_type.filter(|name| !name.contains("json"));
        compression.or_else(|| other_type.map(|name| format!("content_type {name:?}")))
    }

    /// Returns the body, shared.
    pub(crate) fn shared_body(&self) -> Arc<[u8]> {
        Arc::clone(&self.body)
    }

    pub(crate) fn received_body(&self) -> &[u8] {
        &self.received
    }

    /// Returns the number of this attempt, from 1. Reruns after a conflict are not counted.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(crate) const fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the type by which a handler is chosen: the message's type, or its topic if it has no type.
    pub(crate) fn type_name(&self) -> &str {
        let topic = &self.message.topic;
        self.message.type_name.as_ref().unwrap_or(topic)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .field("body_bytes", &self.body.len())
            .field("origin", &self.origin)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// Replaces what PostgreSQL cannot store, and empty or long names: see [`Delivery::new`].
fn clean(mut message: Incoming) -> Incoming {
    message.message_id = message.message_id.filter(|id| !id.is_empty());
    message.key = message.key.filter(|key| !key.is_empty()).map(short_name);
    // Different values of these must stay different, so they are hashed.
    let names = [
        &mut message.message_id,
        &mut message.source,
        &mut message.key,
    ];
    for name in names.into_iter().flatten() {
        if name.contains('\0') {
            *name = digest(name);
        }
    }
    let texts = [
        &mut message.user_id,
        &mut message.type_name,
        &mut message.content_type,
        &mut message.content_encoding,
        &mut message.correlation_id,
        &mut message.causation_id,
        &mut message.reply_to,
        &mut message.in_reply_to,
        &mut message.traceparent,
        &mut message.tracestate,
    ];
    for text in texts.into_iter().flatten() {
        replace_nul(text);
    }
    replace_nul(&mut message.topic);
    if let Ok(serde_json::Value::Object(headers)) = serde_json::to_value(&message.headers) {
        let clean = headers.into_iter().map(|(mut name, mut value)| {
            replace_nul(&mut name);
            if let serde_json::Value::String(text) = &mut value {
                replace_nul(text);
            }
            (name, value)
        });
        message.headers = Headers::from_json(clean.collect());
    }
    message
}

/// Replaces a name of more than 255 bytes by its SHA-256, so that a key fits into an index entry, and an id
/// into a property of a published message. Publishers other than Postroom's may set longer names.
pub(crate) fn short_name(name: String) -> String {
    if name.len() <= NAME_BYTES {
        return name;
    }
    digest(&name)
}

/// Replaces a name that the tables cannot hold by its SHA-256, so that different names stay different: one of more than
/// 255 bytes, or with a NUL character.
pub(crate) fn storable_name(name: String) -> String {
    if name.contains('\0') {
        return digest(&name);
    }
    short_name(name)
}

fn digest(name: &str) -> String {
    let mut digest = String::from("sha256:");
    for byte in Sha256::digest(name) {
        // Writing to a string cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

fn replace_nul(text: &mut String) {
    if text.contains('\0') {
        *text = text.replace('\0', "\u{FFFD}");
    }
}

#[cfg(test)]
mod tests {
    use postroom_message::Incoming;

    use super::Delivery;

    #[test]
    fn characters_that_postgresql_cannot_store_are_replaced() {
        let mut message = Incoming::default();
        message.topic = "a\0b".into();
        message.type_name = Some("\0".into());
        let mut headers = serde_json::Map::new();
        headers.insert("x\0".into(), "y\0".into());
        headers.insert("n".into(), 1.into());
        message.headers = outbox::Headers::from_json(headers);
        let delivery = Delivery::new(message, Vec::new());
        assert_eq!(delivery.message().topic, "a\u{FFFD}b");
        assert_eq!(delivery.type_name(), "\u{FFFD}");
        let text = delivery.message().headers.text("x\u{FFFD}");
        assert_eq!(text, Some("y\u{FFFD}"));
    }

    #[test]
    fn a_key_too_long_for_an_index_is_hashed() {
        let key = |length| {
            let mut message = Incoming::default();
            message.key = Some("x".repeat(length));
            let delivery = Delivery::new(message, Vec::new());
            delivery.message().key.clone().unwrap()
        };
        assert_eq!(key(255), "x".repeat(255));
        assert_eq!(key(256).len(), 71);
        assert_ne!(key(256), key(257));
    }

    #[test]
    fn ids_that_differ_only_in_unstorable_characters_stay_different() {
        let id = |id: &str| {
            let mut message = Incoming::default();
            message.message_id = Some(id.into());
            Delivery::new(message, Vec::new())
                .message()
                .message_id
                .clone()
        };
        assert_ne!(id("a\0"), id("a\u{FFFD}"));
        assert_ne!(id("a\0"), id("b\0"));
        assert!(!id("a\0").unwrap().contains('\0'));
    }

    #[test]
    fn an_empty_id_or_key_counts_as_none() {
        let mut message = Incoming::default();
        message.message_id = Some(String::new());
        message.key = Some(String::new());
        let delivery = Delivery::new(message, Vec::new());
        assert_eq!(delivery.message().message_id, None);
        assert_eq!(delivery.message().key, None);
    }
}
