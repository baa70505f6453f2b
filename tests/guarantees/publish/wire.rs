//! A message on the wire is what the table in `amqp` documents.

use lapin::types::{AMQPValue, FieldTable};
use outbox::{Event, HeaderValue, Message, MessageContext, Outbox};
use postroom_testkit::{Login, Stack, declare};
use serde::Serialize;

use crate::{take, text};

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

#[tokio::test]
async fn an_event_arrives_with_its_cloudevents_attributes_and_is_persistent() {
    let stack = Stack::new().await;
    let (_connection, channel) = stack.broker.channel().await;
    declare(&channel, "orders", "orders.*", FieldTable::default()).await;
    let _relay = stack.relay_with(&[("POSTROOM_AMQP_SOURCE", "shop")]).await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let context = MessageContext::new()
        .correlation_id("process-1")
        .causation_id("cause-1")
        .traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let message = Message::event(&Placed { id: 7 })
        .and_then(|message| message.header("text", "Zoë"))
        .and_then(|message| message.header("whole", i64::MIN))
        .and_then(|message| message.header("fraction", HeaderValue::Float(0.1)))
        .and_then(|message| message.header("truth", true))
        .unwrap();
    let publishing = async { Outbox::new().publish(&mut tx, message).await.unwrap() };
    let id = outbox::context::scope(context, publishing).await;
    tx.commit().await.unwrap();
    let (properties, body) = take(&channel, "orders").await;
    let (seconds, time): (i64, String) = sqlx::query_as(
        r#"SELECT floor(extract(epoch FROM occurred_at))::bigint,
                  to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
           FROM outbox.message"#,
    )
    .fetch_one(&mut stack.database.connect(Login::Relay).await)
    .await
    .unwrap();

    assert_eq!(body, br#"{"id":7}"#);
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(*properties.timestamp(), Some(seconds as u64));
    let property =
        |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    assert_eq!(property(properties.message_id()), Some(id.to_string()));
    assert_eq!(
        property(properties.kind()).as_deref(),
        Some("shop.orders.Placed")
    );
    assert_eq!(
        property(properties.content_type()).as_deref(),
        Some("application/json")
    );
    assert_eq!(property(properties.app_id()).as_deref(), Some("shop"));
    assert_eq!(
        property(properties.correlation_id()).as_deref(),
        Some("process-1")
    );

    let id = id.to_string();
    let texts = [
        ("cloudEvents_specversion", "1.0"),
        ("cloudEvents_id", &id),
        ("cloudEvents_source", "shop"),
        ("cloudEvents_type", "shop.orders.Placed"),
        ("cloudEvents_time", &time),
        ("cloudEvents_partitionkey", "customer-7"),
        ("cloudEvents_causationid", "cause-1"),
        // CRC-32 of the key, modulo 64.
        ("postroom-slot", "8"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("text", "Zoë"),
    ];
    for (name, expected) in texts {
        assert_eq!(text(&properties, name).as_deref(), Some(expected), "{name}");
    }
    let values = [
        ("cloudEvents_eventversion", AMQPValue::LongLongInt(3)),
        ("whole", AMQPValue::LongLongInt(i64::MIN)),
        ("fraction", AMQPValue::Double(0.1)),
        ("truth", AMQPValue::Boolean(true)),
    ];
    let headers = properties.headers().clone().unwrap();
    for (name, expected) in &values {
        assert_eq!(headers.inner().get(*name), Some(expected), "{name}");
    }
    // There are no other headers.
    assert_eq!(
        headers.inner().len(),
        texts.len() + values.len(),
        "{headers:?}"
    );
}

#[tokio::test]
async fn bytes_published_in_sql_arrive_as_they_are() {
    let stack = Stack::new().await;
    let (_connection, channel) = stack.broker.channel().await;
    declare(&channel, "all", "#", FieldTable::default()).await;
    let _relay = stack.relay().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    sqlx::query(
        r#"SELECT outbox.publish_bytes('images.uploaded', '\x89504e4700ff', 'image/png',
               headers => '{"nested": {"a": [1]}, "nothing": null, "correlation_id": "c"}')"#,
    )
    .execute(&mut producer)
    .await
    .unwrap();
    let (properties, body) = take(&channel, "all").await;
    assert_eq!(body, [0x89, b'P', b'N', b'G', 0, 0xff]);
    assert_eq!(
        properties.kind().as_ref().unwrap().as_str(),
        "images.uploaded"
    );
    assert_eq!(
        properties.content_type().as_ref().unwrap().as_str(),
        "image/png"
    );
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "c");
    assert_eq!(text(&properties, "nested").as_deref(), Some(r#"{"a":[1]}"#));
    let id = properties.message_id().clone().unwrap().to_string();
    assert_eq!(text(&properties, "cloudEvents_id"), Some(id));
    assert_eq!(text(&properties, "cloudEvents_partitionkey"), None);
    let headers = properties.headers().clone().unwrap();
    assert!(!headers.contains_key("nothing") && !headers.contains_key("correlation_id"));
}

/// SQL has no types that would tell: a number is an id as well as a text is.
#[tokio::test]
async fn reserved_headers_of_another_type_in_sql_arrive_all_the_same() {
    let stack = Stack::new().await;
    let (_connection, channel) = stack.broker.channel().await;
    declare(&channel, "all", "#", FieldTable::default()).await;
    let _relay = stack.relay().await;
    let mut producer = stack.database.connect(Login::Producer).await;
    sqlx::query(
        r#"SELECT outbox.publish('t', '1', headers => '{"correlation_id": 17, "causation_id": 1.5,
               "event_version": "2", "traceparent": true}')"#,
    )
    .execute(&mut producer)
    .await
    .unwrap();
    let (properties, _) = take(&channel, "all").await;
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "17");
    assert_eq!(
        text(&properties, "cloudEvents_causationid").as_deref(),
        Some("1.5")
    );
    assert_eq!(text(&properties, "traceparent").as_deref(), Some("true"));
    let headers = properties.headers().clone().unwrap();
    assert_eq!(
        headers.inner().get("cloudEvents_eventversion"),
        Some(&AMQPValue::LongLongInt(2))
    );
    let incoming = amqp::decode("t", &properties);
    assert_eq!(incoming.version, Some(2));
    assert_eq!(incoming.correlation_id.as_deref(), Some("17"));
}
