use chrono::DateTime;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use postroom_message::{HeaderValue, Headers, Incoming, reserved};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Outgoing, Uncarriable, decode, encode};

fn header_value() -> impl Strategy<Value = HeaderValue> {
    prop_oneof![
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<i64>().prop_map(HeaderValue::Int),
        (-1e9..1e9_f64).prop_map(HeaderValue::Float),
        ".{0,40}".prop_map(HeaderValue::Text),
    ]
}

proptest! {
    #[test]
    fn an_encoded_message_decodes_to_itself(
        id in any::<u128>(),
        topic in "[a-z.]{1,255}",
        key in proptest::option::of("[a-zA-Z0-9 äß-]{1,60}"),
        user in proptest::collection::btree_map("[a-z]{1,20}x", header_value(), 0..6),
        correlation in proptest::option::of("[a-z0-9-]{1,100}"),
        micros in 0_i64..4_000_000_000_000_000,
    ) {
        let mut headers = Headers::new();
        for (name, value) in &user {
            headers.set(name.clone(), value.clone());
        }
        let expected_headers = headers.clone();
        if let Some(correlation) = &correlation {
            headers.set(reserved::CORRELATION_ID, correlation.as_str());
        }
        headers.set(reserved::EVENT_VERSION, 3_i64);
        headers.set(reserved::TRACEPARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let occurred_at = DateTime::from_timestamp_micros(micros).unwrap();
        let message = Outgoing {
            message_id: Uuid::from_u128(id),
            topic: &topic,
            key: key.as_deref(),
            type_name: "orders.placed",
            content_type: "application/json",
            headers: &headers,
            occurred_at,
            source: "orders",
            user_id: Some("orders_relay"),
        };
        let published = encode(&message).unwrap();
        let incoming = decode(published.routing_key.as_str(), &published.properties);
        prop_assert_eq!(incoming.message_id, Some(Uuid::from_u128(id).to_string()));
        prop_assert_eq!(incoming.topic, topic);
        prop_assert_eq!(incoming.key, key);
        prop_assert_eq!(incoming.source.as_deref(), Some("orders"));
        prop_assert_eq!(incoming.user_id.as_deref(), Some("orders_relay"));
        prop_assert_eq!(incoming.version, Some(3));
        prop_assert_eq!(incoming.correlation_id, correlation);
        prop_assert_eq!(incoming.occurred_at, Some(occurred_at));
        prop_assert_eq!(incoming.headers, expected_headers);
        prop_assert!(incoming.traceparent.is_some());
    }
}

#[test]
fn an_error_names_the_field_that_the_broker_cannot_carry() {
    let mut headers = Headers::new();
    let mut message = Outgoing {
        message_id: Uuid::nil(),
        topic: "t",
        key: None,
        type_name: "t",
        content_type: "text/plain",
        headers: &headers.clone(),
        occurred_at: DateTime::UNIX_EPOCH,
        source: "s",
        user_id: None,
    };
    let long = "x".repeat(256);
    message.topic = &long;
    assert_eq!(
        encode(&message).unwrap_err(),
        Uncarriable::TooLong {
            field: "topic".into(),
            bytes: 256
        }
    );
    message.topic = "t";
    headers.set("large", "y".repeat(100 * 1024));
    message.headers = &headers;
    assert!(matches!(
        encode(&message).unwrap_err(),
        Uncarriable::Headers { .. }
    ));
}

/// Reads a message with one header.
fn decode_with(name: &str, value: AMQPValue) -> Incoming {
    let mut headers = FieldTable::default();
    headers.insert(name.into(), value);
    decode("t", &BasicProperties::default().with_headers(headers))
}

#[test]
fn an_attribute_may_be_a_number_or_bytes() {
    let bytes = AMQPValue::ByteArray(b"shop".to_vec().into());
    for (value, text) in [(AMQPValue::LongInt(42), "42"), (bytes, "shop")] {
        let message = decode_with("cloudEvents_partitionkey", value.clone());
        assert_eq!(message.key.as_deref(), Some(text));
        let message = decode_with("cloudEvents_source", value);
        assert_eq!(message.source.as_deref(), Some(text));
        assert_eq!(message.unreadable, None);
    }
}

/// Without its source or key, a message could pass for another, or overtake an earlier one.
#[test]
fn an_attribute_that_has_no_text_makes_its_message_unreadable() {
    for name in ["cloudEvents_source", "cloudEvents_partitionkey"] {
        for (value, problem) in [
            (AMQPValue::FieldTable(FieldTable::default()), "no text"),
            (AMQPValue::Double(1.5), "no text"),
            (AMQPValue::ByteArray(vec![0xFF].into()), "not UTF-8"),
        ] {
            let told = decode_with(name, value).unreadable.unwrap();
            assert_eq!(told, format!("header {name:?} is {problem}"));
        }
    }
}

#[test]
fn a_time_beyond_all_measure_is_ignored() {
    let properties = BasicProperties::default().with_timestamp(u64::MAX);
    assert_eq!(decode("t", &properties).occurred_at, None);
}

/// As the CloudEvents binding has it, and clients with a type for times send it.
#[test]
fn the_time_of_an_event_may_be_a_timestamp() {
    let time = DateTime::from_timestamp(1_700_000_000, 0);
    let message = decode_with("cloudEvents_time", AMQPValue::Timestamp(1_700_000_000));
    assert_eq!(message.occurred_at, time);
    let text = AMQPValue::LongString("2023-11-14T22:13:20Z".into());
    assert_eq!(decode_with("cloudEvents_time", text).occurred_at, time);
}

#[test]
fn an_attribute_that_decides_nothing_is_ignored_if_it_has_no_text() {
    for name in ["cloudEvents_time", "cloudEvents_causationid", "traceparent"] {
        let message = decode_with(name, AMQPValue::FieldTable(FieldTable::default()));
        assert_eq!(message.unreadable, None);
    }
}
