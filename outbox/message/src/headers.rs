//! Headers of a message.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::HeaderValue;

/// Error of a header that cannot be stored or sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header {name:?} {problem}")]
pub struct InvalidHeader {
    /// Name of the header.
    pub name: String,
    /// The rule that the header breaks.
    pub problem: &'static str,
}

impl InvalidHeader {
    /// Problem of a name or text that holds a NUL character.
    pub const NUL: &'static str = "holds a NUL character, which PostgreSQL cannot store";
}

/// Prefixes of header names that RabbitMQ sets or reads for delivery counts, dead-lettering and federation.
const BROKERS: [&str; 7] = [
    "x-death",
    "x-first-death-",
    "x-last-death-",
    "x-delivery-count",
    "x-acquired-count",
    "x-received-from",
    "x-shovelled",
];

/// Header names that Postroom sets itself. They are stored beside the user's headers.
pub mod reserved {
    /// Id shared by all messages of one business process.
    pub const CORRELATION_ID: &str = "correlation_id";
    /// Id of the message that caused this one.
    pub const CAUSATION_ID: &str = "causation_id";
    /// Version of the body's shape.
    pub const EVENT_VERSION: &str = "event_version";
    /// Trace and span, in the format of W3C Trace Context.
    pub const TRACEPARENT: &str = "traceparent";
    /// State of the trace, in the format of W3C Trace Context.
    pub const TRACESTATE: &str = "tracestate";
    /// Consumer to which a request's reply is sent.
    pub const REPLY_TO: &str = "postroom_reply_to";
    /// Time until which somebody waits for the reply, by RFC 3339.
    pub const REPLY_BY: &str = "postroom_reply_by";
    /// Id of the request that a message replies to.
    pub const IN_REPLY_TO: &str = "postroom_in_reply_to";
    pub(crate) const ALL: [&str; 8] = [
        CORRELATION_ID,
        CAUSATION_ID,
        EVENT_VERSION,
        TRACEPARENT,
        TRACESTATE,
        REPLY_TO,
        REPLY_BY,
        IN_REPLY_TO,
    ];
}

/// Headers by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, HeaderValue>);

impl Headers {
    /// Makes an empty set of headers.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Converts a JSON object, which any SQL client may have written, to headers.
    ///
    /// Null values are left out; an array or object becomes its JSON text.
    pub fn from_json(object: serde_json::Map<String, serde_json::Value>) -> Self {
        let value = |value: serde_json::Value| match value {
            serde_json::Value::Null => None,
            serde_json::Value::Bool(value) => Some(HeaderValue::Bool(value)),
            serde_json::Value::String(text) => Some(HeaderValue::Text(text)),
            serde_json::Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => HeaderValue::Int(whole),
                (None, Some(fraction)) => HeaderValue::Float(fraction),
                (None, None) => HeaderValue::Text(number.to_string()),
            }),
            nested => Some(HeaderValue::Text(nested.to_string())),
        };
        Self(
            object
                .into_iter()
                .filter_map(|(name, v)| Some((name, value(v)?)))
                .collect(),
        )
    }

    /// Returns the value of a header; `None` if the header is missing.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0.get(name)
    }

    /// Returns the text of a header; `None` if the header is missing or not a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(HeaderValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Iterates over the headers in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Sets a header without checking its name: for the mapping from the wire and for reserved names.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<HeaderValue>) {
        self.0.insert(name.into(), value.into());
    }

    /// Checks a header name that a user chose.
    ///
    /// # Errors
    /// Fails if the name is empty, longer than 128 bytes, or set or read by Postroom or RabbitMQ.
    pub fn check_name(name: &str) -> Result<(), InvalidHeader> {
        let problem = if name.is_empty() || name.len() > 128 {
            "must have a name of 1 to 128 bytes"
        } else if name == "CC" || name == "BCC" {
            "would route the message elsewhere (RabbitMQ's sender-selected distribution); choose another name"
        } else if name.starts_with("cloudEvents")
            || name.starts_with("postroom-")
            || reserved::ALL.contains(&name)
        {
            "is set by Postroom itself; choose another name"
        } else if BROKERS.iter().any(|beginning| name.starts_with(beginning)) {
            "is one that RabbitMQ sets or reads itself, and consumers would believe; choose another name"
        } else if name.contains('\0') {
            InvalidHeader::NUL
        } else {
            return Ok(());
        };
        Err(InvalidHeader {
            name: name.to_owned(),
            problem,
        })
    }
}
