//! Messages of others, as handlers of the inbox are given them: docs/wire.md is the contract.

use std::fmt::Write as _;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use outbox::HeaderValue;
use postroom_testkit::short;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Properties of messages that others publish.
fn foreign() -> [(&'static str, BasicProperties); 4] {
    let texts = |pairs: &[(&str, AMQPValue)]| {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert(short(name), value.clone());
        }
        table
    };
    let long = |text: &str| AMQPValue::LongString(text.into());
    let properties = BasicProperties::default;
    let attributes = texts(&[
        ("cloudEvents_id", long("id-of-header")),
        ("cloudEvents_source", long("source-of-header")),
        ("cloudEvents_type", long("type-of-header")),
        ("cloudEvents_time", long("2026-01-02T03:04:05.000006Z")),
        ("cloudEvents_partitionkey", long("key")),
        ("cloudEvents_causationid", long("cause")),
        ("cloudEvents_eventversion", AMQPValue::LongInt(2)),
        ("traceparent", long(TRACE)),
        ("x-delivery-count", AMQPValue::LongLongInt(3)),
    ]);
    let kinds = texts(&[
        ("boolean", AMQPValue::Boolean(true)),
        ("byte", AMQPValue::ShortShortInt(-1)),
        ("double", AMQPValue::Double(0.5)),
        ("float", AMQPValue::Float(0.25)),
        ("int", AMQPValue::LongInt(-7)),
        ("long", AMQPValue::LongLongInt(i64::MAX)),
        ("table", AMQPValue::FieldTable(FieldTable::default())),
        ("text", long("Zoë")),
        ("time", AMQPValue::Timestamp(1)),
        ("void", AMQPValue::Void),
        ("cloudEvents_partitionkey", AMQPValue::LongInt(42)),
    ]);
    [
        ("nothing", properties()),
        (
            "CloudEvents attributes alone",
            properties().with_headers(attributes.clone()),
        ),
        (
            "attributes and properties",
            properties()
                .with_headers(attributes)
                .with_message_id(short("id-of-property"))
                .with_app_id(short("source-of-property"))
                .with_type(short("type-of-property"))
                .with_content_type(short("application/json"))
                .with_correlation_id(short("process"))
                .with_timestamp(1_700_000_000),
        ),
        (
            "headers of every kind, a key that is a number, a time",
            properties()
                .with_headers(kinds)
                .with_timestamp(1_700_000_000),
        ),
    ]
}

#[test]
fn messages_of_others_are_understood_as_before() {
    let mut text = String::new();
    for (title, properties) in foreign() {
        let incoming = amqp::decode("topic", &properties);
        let rows = [
            ("topic", format!("{:?}", incoming.topic)),
            ("message id", shown(incoming.message_id.as_ref())),
            ("source", shown(incoming.source.as_ref())),
            ("key", shown(incoming.key.as_ref())),
            ("type", shown(incoming.type_name.as_ref())),
            ("version", shown(incoming.version.as_ref())),
            ("content type", shown(incoming.content_type.as_ref())),
            ("correlation id", shown(incoming.correlation_id.as_ref())),
            ("causation id", shown(incoming.causation_id.as_ref())),
            ("traceparent", shown(incoming.traceparent.as_ref())),
            ("time", shown(incoming.occurred_at.as_ref())),
            ("unreadable", shown(incoming.unreadable.as_ref())),
            ("delivery count", incoming.delivery_count.to_string()),
        ];
        writeln!(text, "## {title}").unwrap();
        for (name, value) in rows {
            writeln!(text, "{name} = {value}").unwrap();
        }
        for (name, value) in incoming.headers.iter() {
            writeln!(text, "header {name} = {}", kind(value)).unwrap();
        }
        text.push('\n');
    }
    golden::check("wire/understood.txt", &text);
}

fn kind(value: &HeaderValue) -> String {
    match value {
        HeaderValue::Bool(value) => format!("truth value {value}"),
        HeaderValue::Int(value) => format!("whole number {value}"),
        HeaderValue::Float(value) => format!("fraction {value:?}"),
        HeaderValue::Text(text) => format!("text {text:?}"),
    }
}

fn shown(value: Option<&impl std::fmt::Debug>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:?}"))
}
