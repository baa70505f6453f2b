//! Mapping from a row of the outbox to AMQP properties.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use postroom_message::{HeaderValue, Headers, Slot, reserved};
use uuid::Uuid;

use super::names;

/// Delivery mode for persistent messages (AMQP 0-9-1).
pub(super) const PERSISTENT: u8 = 2;

/// Largest size of the encoded headers, in bytes. One frame of RabbitMQ's default 128 KiB must hold them
/// all, with the other properties; larger headers would close the connection.
const ENCODED_HEADERS_BYTES: usize = 96 * 1024;

/// Largest number of headers that are made from columns.
const ATTRIBUTES: usize = 7;

/// A message as the outbox table stores it.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Id of the message.
    pub message_id: Uuid,
    /// Topic.
    pub topic: &'a str,
    /// Ordering key; `None` if unordered.
    pub key: Option<&'a str>,
    /// Type of the body.
    pub type_name: &'a str,
    /// Content type of the body.
    pub content_type: &'a str,
    /// User headers and the reserved headers of Postroom.
    pub headers: &'a Headers,
    /// Time of writing by the database's clock.
    pub occurred_at: DateTime<Utc>,
    /// Name of the service that wrote the message.
    pub source: &'a str,
    /// The broker's user that publishes; `None` to send no user. The broker refuses any other user than the
    /// connection's.
    pub user_id: Option<&'a str>,
}

/// Routing key and properties of a message, ready for the AMQP client.
#[derive(Debug, Clone)]
pub struct Published {
    /// Routing key.
    pub routing_key: ShortString,
    /// Properties and headers.
    pub properties: BasicProperties,
}

/// Reason why the broker can never carry a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Uncarriable {
    /// A text is longer than an AMQP short string.
    #[error("{field} has {bytes} bytes, AMQP carries at most 255")]
    TooLong {
        /// Name of the field or header.
        field: String,
        /// Length in bytes.
        bytes: usize,
    },
    /// The headers do not fit one frame.
    #[error(
        "the headers take {bytes} bytes on the wire, at most {ENCODED_HEADERS_BYTES} fit a frame"
    )]
    Headers {
        /// Encoded size in bytes.
        bytes: usize,
    },
}

/// Maps a message to its routing key and properties.
///
/// # Errors
/// Returns the reason if the broker can never carry the message; a retry cannot help.
pub fn encode(message: &Outgoing<'_>) -> Result<Published, Uncarriable> {
    let mut buffer = Uuid::encode_buffer();
    let id: &str = message.message_id.hyphenated().encode_lower(&mut buffer);
    let mut properties = BasicProperties::default()
        .with_message_id(short("message id", id)?)
        .with_type(short("type", message.type_name)?)
        .with_content_type(short("content type", message.content_type)?)
        .with_app_id(short("source", message.source)?)
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(message.occurred_at.timestamp().max(0) as u64);
    if let Some(user_id) = message.user_id {
        properties = properties.with_user_id(short("user id", user_id)?);
    }
    if let Some(correlation_id) = message.headers.get(reserved::CORRELATION_ID) {
        let correlation_id = short("correlation id", &correlation_id.to_text())?;
        properties = properties.with_correlation_id(correlation_id);
    }
    let mut table = Table::with_capacity(ATTRIBUTES + message.headers.iter().len());
    table.text(names::ID, id)?;
    if let Some(key) = message.key {
        table.text(names::PARTITION_KEY, key)?;
    }
    table.text(names::SOURCE, message.source)?;
    table.text(names::SPEC_VERSION, "1.0")?;
    let time = message
        .occurred_at
        .to_rfc3339_opts(SecondsFormat::Micros, true);
    table.text(names::TIME, time)?;
    table.text(names::TYPE, message.type_name)?;
    let slot = Slot::of(message.key.unwrap_or(id)).number();
    table.text(names::SLOT, slot.to_string())?;
    for (name, value) in message.headers.iter() {
        match name {
            reserved::CORRELATION_ID => {}
            reserved::CAUSATION_ID => table.text(names::CAUSATION_ID, &*value.to_text())?,
            reserved::TRACEPARENT => table.text(names::TRACEPARENT, &*value.to_text())?,
            reserved::TRACESTATE => table.text(names::TRACESTATE, &*value.to_text())?,
            reserved::REPLY_TO => table.text(names::REPLY_TO, &*value.to_text())?,
            reserved::REPLY_BY => table.text(names::REPLY_BY, &*value.to_text())?,
            reserved::IN_REPLY_TO => table.text(names::IN_REPLY_TO, &*value.to_text())?,
            // A value that is no version, as SQL can write it, is left out: no consumer could read the message.
            reserved::EVENT_VERSION => {
                if let Some(version) = version(value) {
                    table.value(names::EVENT_VERSION, &i64::from(version).into())?;
                }
            }
            // A header under a name that Postroom sets itself, in a row written before the table refused it, is left
            // out.
            name if name.starts_with("cloudEvents") || name.starts_with("postroom-") => {}
            _ => table.value(name, value)?,
        }
    }
    Ok(Published {
        routing_key: short("topic", message.topic)?,
        properties: properties.with_headers(table.finish()?),
    })
}

/// Returns an integer, also if it is stored as a text: SQL writers may use either.
fn version(value: &HeaderValue) -> Option<u32> {
    match value {
        HeaderValue::Int(number) => u32::try_from(*number).ok(),
        HeaderValue::Text(text) => text.parse().ok(),
        HeaderValue::Bool(_) | HeaderValue::Float(_) => None,
    }
}

fn short(field: &str, text: &str) -> Result<ShortString, Uncarriable> {
    ShortString::try_new(text).map_err(|_| Uncarriable::TooLong {
        field: field.to_owned(),
        bytes: text.len(),
    })
}

/// An AMQP field table that counts its encoded size (AMQP 0-9-1, section 4.2.5.5).
struct Table {
    /// Fields in insertion order. They become a sorted table only at the end, which is faster when they are
    /// nearly sorted.
    fields: Vec<(ShortString, AMQPValue)>,
    bytes: usize,
}

impl Table {
    fn with_capacity(fields: usize) -> Self {
        Self {
            fields: Vec::with_capacity(fields),
            bytes: 0,
        }
    }

    fn text(&mut self, name: &str, text: impl Into<LongString>) -> Result<(), Uncarriable> {
        let text = text.into();
        let bytes = 4 + text.as_bytes().len();
        self.insert(name, AMQPValue::LongString(text), bytes)
    }

    fn value(&mut self, name: &str, value: &HeaderValue) -> Result<(), Uncarriable> {
        match value {
            HeaderValue::Bool(value) => self.insert(name, AMQPValue::Boolean(*value), 1),
            HeaderValue::Int(value) => self.insert(name, AMQPValue::LongLongInt(*value), 8),
            HeaderValue::Float(value) => self.insert(name, AMQPValue::Double(*value), 8),
            HeaderValue::Text(text) => self.text(name, text.as_str()),
        }
    }

    fn insert(&mut self, name: &str, value: AMQPValue, bytes: usize) -> Result<(), Uncarriable> {
        self.bytes += 1 + name.len() + 1 + bytes;
        self.fields.push((short(name, name)?, value));
        Ok(())
    }

    fn finish(self) -> Result<FieldTable, Uncarriable> {
        if self.bytes > ENCODED_HEADERS_BYTES {
            return Err(Uncarriable::Headers { bytes: self.bytes });
        }
        Ok(BTreeMap::from_iter(self.fields).into())
    }
}
