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
}

/// Reads a message's properties.
pub fn decode(routing_key: &str, properties: &BasicProperties) -> Incoming {
    let empty = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&empty);
    let attribute = |name: &str| table.inner().get(name).and_then(text);
    let property = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    Incoming {
        message_id: property(properties.message_id()).or_else(|| attribute(names::ID)),
        source: attribute(names::SOURCE).or_else(|| property(properties.app_id())),
        topic: routing_key.to_owned(),
        key: table
            .inner()
            .get(names::PARTITION_KEY)
            .and_then(|key| text(key).or_else(|| Some(integer(key)?.to_string()))),
        type_name: property(properties.kind()).or_else(|| attribute(names::TYPE)),
        version: table.inner().get(names::EVENT_VERSION).and_then(integer),
        content_type: property(properties.content_type()),
        correlation_id: property(properties.correlation_id()),
        causation_id: attribute(names::CAUSATION_ID),
        traceparent: attribute(names::TRACEPARENT),
        occurred_at: attribute(names::TIME)
            .and_then(|time| DateTime::parse_from_rfc3339(&time).ok())
            .map(|time| time.with_timezone(&Utc))
            .or_else(|| {
                properties
                    .timestamp()
                    .and_then(|s| DateTime::from_timestamp(s as i64, 0))
            }),
        headers: user_headers(table),
        delivery_count: table
            .inner()
            .get(names::DELIVERY_COUNT)
            .and_then(integer)
            .map_or(0, |count| count.max(0) as u64),
    }
}

fn user_headers(table: &FieldTable) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in table.inner() {
        let name = name.as_str();
        let ours = name.starts_with(names::PREFIX)
            || name == names::TRACEPARENT
            || name == names::DELIVERY_COUNT;
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
                } else if let Some(text) = text(value) {
                    headers.set(name, text);
                }
            }
        }
    }
    headers
}

fn text(value: &AMQPValue) -> Option<String> {
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
