//! Mapping from AMQP properties to a received message.

use chrono::{DateTime, Utc};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::names;
use crate::Headers;

/// A received message without its body.
///
/// Every field but the topic may be missing, because any program can publish to a queue.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Incoming {
    /// Id of the message, unique within its source; a UUID version 7 is unique across all sources.
    pub message_id: Option<String>,
    /// Name of the service that published the message.
    pub source: Option<String>,
    /// Routing key.
    pub topic: String,
    /// Ordering key; `None` if unordered.
    pub key: Option<String>,
    /// Type of the body.
    pub type_name: Option<String>,
    /// Version of the body's shape.
    pub version: Option<i64>,
    /// Content type of the body.
    pub content_type: Option<String>,
    /// Id shared by all messages of one business process.
    pub correlation_id: Option<String>,
    /// Id of the message that caused this one.
    pub causation_id: Option<String>,
    /// Trace and span of the publisher.
    pub traceparent: Option<String>,
    /// Time of writing by the clock of the publisher's database.
    pub occurred_at: Option<DateTime<Utc>>,
    /// Other headers. Values other than texts, numbers and booleans are left out.
    pub headers: Headers,
    /// Number of earlier deliveries; 0 if the queue does not count them.
    pub delivery_count: u64,
    /// Reason why the message cannot be handled as it was sent, such as a property that is not UTF-8 or a
    /// header that is nested too deeply; `None` if the message is readable. The other fields hold all that
    /// could be read.
    pub unreadable: Option<String>,
}

/// Reads a message from its routing key and properties.
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

/// Reader of the headers that hold Postroom's attributes.
struct Attributes<'a> {
    table: &'a FieldTable,
    /// Problem of the first unreadable attribute; `None` if all were readable.
    unreadable: Option<String>,
}

impl Attributes<'_> {
    /// Returns an attribute that is a text; `None` if it is not UTF-8: replacing the bad bytes could make
    /// two different ids equal.
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
