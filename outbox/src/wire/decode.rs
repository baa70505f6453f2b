//! From AMQP to what a consumer handles.

use chrono::{DateTime, Utc};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::names;
use crate::Headers;

/// A message as it arrived, apart from its body.
///
/// Every field may be missing: anybody can publish to a queue.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Incoming {
    /// Id of the message, unique within its source; a UUID version 7 whatever its source.
    pub message_id: Option<String>,
    /// The service that published it.
    pub source: Option<String>,
    /// Its routing key.
    pub topic: String,
    /// What it is ordered by.
    pub key: Option<String>,
    /// Type of the body.
    pub type_name: Option<String>,
    /// Version of the body's shape.
    pub version: Option<i64>,
    /// Content type of the body.
    pub content_type: Option<String>,
    /// Shared by all messages of one business process.
    pub correlation_id: Option<String>,
    /// Id of the message that caused this one.
    pub causation_id: Option<String>,
    /// Trace and span of the publisher.
    pub traceparent: Option<String>,
    /// When it was written, by the publisher's database.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Other headers. Values that are no text, number or truth value are left out.
    pub headers: Headers,
    /// How often the broker delivered it before, where the queue counts.
    pub delivery_count: u64,
    /// Why the message cannot be handled as it was sent: a property that is not UTF-8, a header that is
    /// nested too deeply. The fields above hold whatever could be read.
    pub unreadable: Option<String>,
}

/// Reads a message's properties.
pub fn decode(routing_key: &str, properties: &BasicProperties) -> Incoming {
    let empty = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&empty);
    let mut attributes = Attributes {
        table,
        unreadable: table.inner().get(amqp::UNREADABLE).and_then(lossy_text),
    };
    let property = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    Incoming {
        message_id: property(properties.message_id()).or_else(|| attributes.text(names::ID)),
        source: attributes
            .text(names::SOURCE)
            .or_else(|| property(properties.app_id())),
        topic: routing_key.to_owned(),
        key: attributes
            .integer(names::PARTITION_KEY)
            .map(|key| key.to_string())
            .or_else(|| attributes.text(names::PARTITION_KEY)),
        type_name: property(properties.kind()).or_else(|| attributes.text(names::TYPE)),
        version: attributes.integer(names::EVENT_VERSION),
        content_type: property(properties.content_type()),
        correlation_id: property(properties.correlation_id()),
        causation_id: attributes.text(names::CAUSATION_ID),
        traceparent: attributes.text(names::TRACEPARENT),
        occurred_at: attributes
            .text(names::TIME)
            .and_then(|time| DateTime::parse_from_rfc3339(&time).ok())
            .map(|time| time.with_timezone(&Utc))
            .or_else(|| {
                properties
                    .timestamp()
                    .and_then(|s| DateTime::from_timestamp(s as i64, 0))
            }),
        headers: user_headers(table),
        delivery_count: attributes
            .integer(names::DELIVERY_COUNT)
            .map_or(0, |count| count.max(0) as u64),
        unreadable: attributes.unreadable,
    }
}

/// The headers in which Postroom's own attributes stand.
struct Attributes<'a> {
    table: &'a FieldTable,
    /// The first of them that cannot be read.
    unreadable: Option<String>,
}

impl Attributes<'_> {
    /// Returns an attribute that is a text. Replacing what is not UTF-8 in it would make two ids one.
    fn text(&mut self, name: &str) -> Option<String> {
        let text = match self.table.inner().get(name)? {
            AMQPValue::LongString(text) => text,
            AMQPValue::ShortString(text) => return Some(text.to_string()),
            _ => return None,
        };
        let text = std::str::from_utf8(text.as_bytes());
        if text.is_err() && self.unreadable.is_none() {
            self.unreadable = Some(format!("header {name:?} is not UTF-8"));
        }
        text.ok().map(str::to_owned)
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
            || name == amqp::UNREADABLE;
        if ours {
            continue;
        }
        match value {
            AMQPValue::Boolean(value) => headers.set(name, *value),
            AMQPValue::Double(value) => headers.set(name, crate::HeaderValue::Float(*value)),
            AMQPValue::Float(value) => {
                headers.set(name, crate::HeaderValue::Float(f64::from(*value)));
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

/// Returns a text, with U+FFFD for what is not UTF-8 in it.
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
