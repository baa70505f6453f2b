//! A message as it passes through the services to a handler.

mod clean;
mod of_event;

use std::{fmt, sync::Arc};

use postroom_message::Incoming;
use serde::de::DeserializeOwned;

pub(crate) use clean::{short_name, storable_name};

use crate::handler::{BoxError, Disposition, HandlerError, Step};
use clean::clean;

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
