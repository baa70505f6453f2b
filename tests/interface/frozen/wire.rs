//! Messages as a plain AMQP client reads them: docs/wire.md is the contract.

use std::fmt::Write as _;

use chrono::{DateTime, Timelike as _};
use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::BasicGetOptions,
    types::{AMQPValue, FieldTable, ShortString},
};
use outbox::{Event, HeaderValue, Message, MessageContext, Outbox};
use postroom_testkit::{Login, Stack, declare, eventually, short};
use serde::Serialize;
use uuid::Uuid;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[derive(Serialize)]
struct Placed {
    id: u32,
}

impl Event for Placed {
    const TOPIC: &'static str = "orders.placed";
    const TYPE: &'static str = "shop.orders.Placed";
    const VERSION: u32 = 3;

    fn key(&self) -> Option<String> {
        Some("customer-7".to_owned())
    }
}

/// Messages written with the library, and what is special about each.
fn messages() -> [(&'static str, Message); 4] {
    let typed = Message::event(&Placed { id: 7 }).unwrap();
    let everything = Message::event(&Placed { id: 8 })
        .and_then(|message| message.key("Zoë"))
        .and_then(|message| message.type_name("shop.orders.Moved"))
        .and_then(|message| message.header("text", "Zoë"))
        .and_then(|message| message.header("empty", ""))
        .and_then(|message| message.header("whole", i64::MIN))
        .and_then(|message| message.header("fraction", HeaderValue::Float(0.1)))
        .and_then(|message| message.header("truth", true))
        .unwrap()
        .expires_at(DateTime::from_timestamp(4_000_000_000, 0).unwrap())
        .serialize_key()
        .context(
            &MessageContext::new()
                .correlation_id("process-1")
                .causation_id("cause-1")
                .traceparent(TRACE),
        );
    let bytes = Message::bytes("images.uploaded", "image/png", vec![0x89, b'P', 0, 0xff]).unwrap();
    let version_4 = Message::bytes("images.uploaded", "text/plain", Vec::new())
        .unwrap()
        .id("f47ac10b-58cc-4372-a567-0e02b2c3d479"
            .parse::<Uuid>()
            .unwrap());
    [
        ("a typed event", typed),
        ("a typed event with everything that may be set", everything),
        ("bytes without a key", bytes),
        ("no bytes, and an id of another version", version_4),
    ]
}

/// Messages written in SQL.
const STATEMENTS: [(&str, &str); 4] = [
    (
        "SQL: a topic and a payload",
        r#"SELECT outbox.publish('orders.paid', '{"id": 1, "cents": 5.00}')"#,
    ),
    (
        "SQL: everything that may be set",
        r#"SELECT outbox.publish('orders.paid', '[1]', key => 'customer-7', type => 'Paid',
               headers => '{"text": "a", "whole": 7, "fraction": 1.5, "truth": false,
                            "correlation_id": "process-1", "causation_id": "cause-1",
                            "event_version": 2, "traceparent": "00-trace"}',
               message_id => '0190b5d2-7e7a-7000-8000-000000000001',
               deliver_after => now() - interval '1 hour', expires_at => now() + interval '1 hour',
               serialize_key => true)"#,
    ),
    (
        "SQL: headers of other types",
        r#"SELECT outbox.publish('orders.paid', 'null',
               headers => '{"nested": {"a": [1, null]}, "nothing": null, "large": 1e300,
                            "beyond": 9223372036854775808, "correlation_id": 17, "causation_id": 1.5,
                            "event_version": "2", "traceparent": true}')"#,
    ),
    (
        "SQL: bytes",
        r"SELECT outbox.publish_bytes('images.uploaded', '\x00ff', 'image/png', key => 'album 1')",
    ),
];

#[tokio::test]
async fn messages_look_at_the_broker_as_before() {
    let stack = Stack::new().await;
    let (_connection, channel) = stack.broker.channel().await;
    declare(&channel, "all", "#", FieldTable::default()).await;
    let _relay = stack.relay_with(&[("POSTROOM_AMQP_SOURCE", "shop")]).await;
    let pool = stack.database.pool(Login::Producer).await;
    // One after another: messages of different keys may arrive in any order.
    let mut text = String::new();
    for (title, message) in messages() {
        let mut tx = outbox::transaction::begin(&pool).await.unwrap();
        Outbox::new().publish(&mut tx, message).await.unwrap();
        tx.commit().await.unwrap();
        let described = described(&take(&channel).await);
        writeln!(text, "## {title}\n{described}").unwrap();
    }
    for (title, statement) in STATEMENTS {
        sqlx::query(statement).execute(&pool).await.unwrap();
        let described = described(&take(&channel).await);
        writeln!(text, "## {title}\n{described}").unwrap();
    }
    golden::check("wire/published.txt", &text);
}

async fn take(channel: &Channel) -> Delivery {
    let mut taken = None;
    eventually("the next message arrives", async || {
        let options = BasicGetOptions { no_ack: true };
        taken = channel.basic_get(short("all"), options).await.unwrap();
        taken.is_some()
    })
    .await;
    taken.unwrap().delivery
}

/// Everything that AMQP 0-9-1 tells of a message.
fn described(delivery: &Delivery) -> String {
    let properties = &delivery.properties;
    let text =
        |value: &Option<ShortString>| value.as_ref().map(|text| format!("{:?}", text.as_str()));
    let rows = [
        (
            "exchange",
            Some(format!("{:?}", delivery.exchange.as_str())),
        ),
        (
            "routing key",
            Some(format!("{:?}", delivery.routing_key.as_str())),
        ),
        ("redelivered", Some(delivery.redelivered.to_string())),
        ("content_type", text(properties.content_type())),
        ("content_encoding", text(properties.content_encoding())),
        ("delivery_mode", number(*properties.delivery_mode())),
        ("priority", number(*properties.priority())),
        ("correlation_id", text(properties.correlation_id())),
        ("reply_to", text(properties.reply_to())),
        ("expiration", text(properties.expiration())),
        ("message_id", Some(id(properties))),
        (
            "timestamp",
            properties.timestamp().map(|_| "<seconds>".to_owned()),
        ),
        ("type", text(properties.kind())),
        ("user_id", text(properties.user_id())),
        ("app_id", text(properties.app_id())),
        ("cluster_id", text(properties.cluster_id())),
    ];
    let mut shown = String::new();
    for (name, value) in rows {
        writeln!(shown, "{name} = {}", value.as_deref().unwrap_or("-")).unwrap();
    }
    let headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in headers.inner() {
        let value = match name.as_str() {
            "cloudEvents_time" => time(value, properties),
            "cloudEvents_id" => identified(value, properties),
            "postroom-slot" if !headers.contains_key("cloudEvents_partitionkey") => of_id(value),
            _ => typed(value),
        };
        writeln!(shown, "header {name} = {value}").unwrap();
    }
    let body = delivery.data.escape_ascii();
    writeln!(shown, "body = {body}").unwrap();
    shown
}

fn number(value: Option<u8>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// The id; one that the library or the database made up is named by its version only.
fn id(properties: &BasicProperties) -> String {
    let id = properties.message_id().clone().expect("an id").to_string();
    let uuid: Uuid = id.parse().expect("a UUID");
    assert_eq!(
        uuid.hyphenated().to_string(),
        id,
        "written in lower case with hyphens"
    );
    if uuid.get_version_num() == 7 && !id.starts_with("0190b5d2") {
        "<UUID version 7>".to_owned()
    } else {
        format!("{id:?}")
    }
}

/// The header with the id, which must be that of the property.
fn identified(value: &AMQPValue, properties: &BasicProperties) -> String {
    let AMQPValue::LongString(text) = value else {
        return typed(value);
    };
    let property = properties.message_id().clone().unwrap_or_default();
    assert_eq!(text.to_string(), property.as_str());
    "long-string <message_id>".to_owned()
}

/// The slot of a message without a key, which is its id's.
fn of_id(value: &AMQPValue) -> String {
    let AMQPValue::LongString(text) = value else {
        return typed(value);
    };
    let slot: u8 = text.to_string().parse().expect("a number");
    assert!(slot < 64, "{slot}");
    "long-string <slot of the id>".to_owned()
}

/// The header with the time, which must be that of the property, with microseconds.
fn time(value: &AMQPValue, properties: &BasicProperties) -> String {
    let AMQPValue::LongString(text) = value else {
        return typed(value);
    };
    let text = text.to_string();
    let time = DateTime::parse_from_rfc3339(&text).expect("a time as in RFC 3339");
    assert_eq!(Some(time.timestamp() as u64), *properties.timestamp());
    assert_eq!(time.nanosecond() % 1_000, 0, "{text}");
    assert_eq!(text.len(), "2026-01-01T00:00:00.000000Z".len(), "{text}");
    "long-string <time, microseconds, Z>".to_owned()
}

/// A value of a header with its type, as AMQP 0-9-1 names it (section 4.2.1).
fn typed(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => format!("boolean {value}"),
        AMQPValue::LongLongInt(value) => format!("long-long-int {value}"),
        AMQPValue::Double(value) => format!("double {value:?}"),
        AMQPValue::LongString(text) => format!("long-string {:?}", text.to_string()),
        other => format!("{other:?}"),
    }
}
