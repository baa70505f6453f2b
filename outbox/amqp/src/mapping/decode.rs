//! Mapping from AMQP properties to a received message.

use chrono::{DateTime, Utc};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use postroom_message::{HeaderValue, Headers, Incoming};

use super::names;
use crate::UNREADABLE;

/// Reads a message from its routing key and properties.
pub fn decode(routing_key: &str, properties: &BasicProperties) -> Incoming {
    let empty = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&empty);
    let mut attributes = Attributes {
        table,
        unreadable: table.inner().get(UNREADABLE).and_then(lossy_text),
    };
    let property = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    let mut message = Incoming::default();
    message.message_id = property(properties.message_id()).or_else(|| attributes.text(names::ID));
    message.source = attributes
        .text(names::SOURCE)
        .or_else(|| property(properties.app_id()));
    message.user_id = property(properties.user_id());
    routing_key.clone_into(&mut message.topic);
    message.key = attributes.text(names::PARTITION_KEY);
    message.type_name = property(properties.kind()).or_else(|| attributes.text(names::TYPE));
    message.version = attributes.integer(names::EVENT_VERSION);
    message.content_type = property(properties.content_type());
    message.correlation_id = property(properties.correlation_id());
    message.causation_id = attributes.optional_text(names::CAUSATION_ID);
    message.traceparent = attributes.optional_text(names::TRACEPARENT);
    message.occurred_at = attributes
        .time()
        .or_else(|| from_seconds((*properties.timestamp())?));
    message.headers = user_headers(table);
    message.delivery_count = attributes
        .integer(names::DELIVERY_COUNT)
        .map_or(0, |count| count.max(0) as u64);
    message.unreadable = attributes.unreadable;
    message
}

/// Reader of the headers that hold Postroom's attributes.
struct Attributes<'a> {
    table: &'a FieldTable,
    /// Problem of the first unreadable attribute; `None` if all were readable.
    unreadable: Option<String>,
}

impl Attributes<'_> {
    /// Returns an attribute that identifies or orders the message, or chooses its handler.
    ///
    /// A value without a text makes the message unreadable: if the attribute were ignored, the message could pass
    /// for another, or overtake an earlier one of its key.
    fn text(&mut self, name: &str) -> Option<String> {
        match text(self.table.inner().get(name)?) {
            Ok(text) => text,
            Err(problem) => {
                self.unreadable
                    .get_or_insert_with(|| format!("header {name:?} {problem}"));
                None
            }
        }
    }

    /// Returns an attribute; `None` also if it has no text.
    fn optional_text(&self, name: &str) -> Option<String> {
        text(self.table.inner().get(name)?).ok().flatten()
    }

    /// Returns the time at which the event happened, a text by RFC 3339 or an AMQP timestamp.
    fn time(&self) -> Option<DateTime<Utc>> {
        if let AMQPValue::Timestamp(seconds) = self.table.inner().get(names::TIME)? {
            return from_seconds(*seconds);
        }
        let time = self.optional_text(names::TIME)?;
        let time = DateTime::parse_from_rfc3339(&time).ok()?;
        Some(time.with_timezone(&Utc))
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.table.inner().get(name).and_then(integer)
    }
}

fn user_headers(table: &FieldTable) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in table.inner() {
        let name = name.as_str();
        let ours = name.starts_with(names::PREFIX)
            || name == names::TRACEPARENT
            || name == names::DELIVERY_COUNT
            || name == UNREADABLE;
        if ours {
            continue;
        }
        match value {
            AMQPValue::Boolean(value) => headers.set(name, *value),
            AMQPValue::Double(value) => headers.set(name, HeaderValue::Float(*value)),
            AMQPValue::Float(value) => {
                headers.set(name, HeaderValue::Float(f64::from(*value)));
            }
            value => {
                if let Some(number) = integer(value) {
                    headers.set(name, number);
                } else if let Some(text) = lossy_text(value) {
                    headers.set(name, text);
                }
            }
        }
    }
    headers
}

/// Returns a text, the bytes of one, or a whole number in decimal; `None` for no value.
///
/// # Errors
/// Fails with the problem of any other value.
fn text(value: &AMQPValue) -> Result<Option<String>, &'static str> {
    let bytes = match value {
        AMQPValue::Void => return Ok(None),
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ByteArray(bytes) => bytes.as_slice(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        value => {
            let number = integer(value).ok_or("is no text")?;
            return Ok(Some(number.to_string()));
        }
    };
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    Ok(Some(text.to_owned()))
}

/// Converts seconds since 1970; `None` if no date is that far.
fn from_seconds(seconds: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds.try_into().ok()?, 0)
}

/// Returns a text in which U+FFFD replaces bytes that are not UTF-8.
fn lossy_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}
