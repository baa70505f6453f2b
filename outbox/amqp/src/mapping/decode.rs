//! Mapping from AMQP properties to a received message.

use lapin::{
    BasicProperties,
    types::{FieldTable, ShortString},
};
use postroom_message::Incoming;

use super::{
    attributes::{Attribute, Attributes},
    names, structured, time, values,
};

/// Reads a message from its routing key, its properties and its body; returns the body of the event too, which in
/// CloudEvents' structured mode is a part of the message's body.
pub fn read(
    routing_key: &str,
    properties: &BasicProperties,
    payload: Vec<u8>,
) -> (Incoming, Vec<u8>) {
    let mut message = decode(routing_key, properties);
    let payload = structured::open(&mut message, payload);
    (message, payload)
}

/// Reads a message from its routing key and properties.
pub fn decode(routing_key: &str, properties: &BasicProperties) -> Incoming {
    let empty = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&empty);
    let (mut attributes, headers) = Attributes::read(table);
    let mut message = Incoming::default();
    message.message_id = property(properties.message_id().as_ref())
        .or_else(|| non_empty(attributes.text(Attribute::Id)));
    message.source = attributes
        .text(Attribute::Source)
        .or_else(|| properties.app_id().as_ref().map(ToString::to_string));
    message.user_id = property(properties.user_id().as_ref());
    routing_key.clone_into(&mut message.topic);
    message.key = attributes.text(Attribute::PartitionKey);
    message.type_name = property(properties.kind().as_ref())
        .or_else(|| non_empty(attributes.text(Attribute::Type)));
    message.version = attributes.version();
    message.content_type = property(properties.content_type().as_ref())
        .or_else(|| attributes.optional_text(Attribute::DataContentType));
    message.content_encoding = property(properties.content_encoding().as_ref());
    message.correlation_id = property(properties.correlation_id().as_ref());
    message.causation_id = attributes.optional_text(Attribute::CausationId);
    message.reply_to = non_empty(attributes.optional_text(Attribute::ReplyTo));
    message.reply_by = attributes
        .value(Attribute::ReplyBy)
        .and_then(time::from_value);
    message.in_reply_to = non_empty(attributes.optional_text(Attribute::InReplyTo));
    message.traceparent = plain_text(table, names::TRACEPARENT)
        .or_else(|| attributes.optional_text(Attribute::Traceparent));
    message.tracestate = plain_text(table, names::TRACESTATE)
        .or_else(|| attributes.optional_text(Attribute::Tracestate));
    message.occurred_at = attributes
        .value(Attribute::Time)
        .and_then(time::from_value)
        .or_else(|| time::from_number((*properties.timestamp())?));
    message.headers = headers;
    message.delivery_count = table
        .inner()
        .get(names::DELIVERY_COUNT)
        .and_then(values::integer)
        .map_or(0, |count| count.max(0) as u64);
    message.unreadable = attributes.unreadable;
    message
}

/// Returns a property; `None` also if it is empty, as clients send a property that is not set.
fn property(value: Option<&ShortString>) -> Option<String> {
    non_empty(value.map(ToString::to_string))
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn plain_text(table: &FieldTable, name: &str) -> Option<String> {
    values::text(table.inner().get(name)?).ok().flatten()
}
