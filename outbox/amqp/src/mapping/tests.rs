use chrono::DateTime;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use postroom_message::{HeaderValue, Headers, Incoming, reserved};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Outgoing, Uncarriable, decode, encode, read};

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

/// Reads a message with headers that hold texts.
fn decode_texts(texts: &[(&str, &str)]) -> Incoming {
    let mut headers = FieldTable::default();
    for (name, text) in texts {
        headers.insert((*name).into(), AMQPValue::LongString((*text).into()));
    }
    decode("t", &BasicProperties::default().with_headers(headers))
}

#[test]
fn each_prefix_of_cloudevents_is_read_and_that_of_other_bindings_only_in_an_event() {
    for prefix in ["cloudEvents_", "cloudEvents:", "ce-", "ce_", "Ce-"] {
        let names =
            ["specversion", "id", "partitionkey", "Tenant"].map(|name| format!("{prefix}{name}"));
        let texts = names.each_ref().map(|name| (name.as_str(), "1"));
        let message = decode_texts(&texts);
        assert_eq!(message.message_id.as_deref(), Some("1"), "{prefix}");
        assert_eq!(message.key.as_deref(), Some("1"), "{prefix}");
        assert_eq!(message.headers.text("cloudEvents:tenant"), Some("1"));
        assert_eq!(message.headers.iter().len(), 1, "{:?}", message.headers);
    }
    let others = [
        [("ce_id", "1"), ("ce_partitionkey", "2")],
        [("ce_specversion", "1.0"), ("cloudEvents_source", "shop")],
    ];
    for texts in others {
        let message = decode_texts(&texts);
        assert_eq!((&message.message_id, &message.key), (&None, &None));
        let (name, text) = texts[0];
        assert_eq!(message.headers.text(name), Some(text));
    }
}

#[test]
fn two_prefixes_with_different_values_make_a_message_unreadable() {
    let key = |other| {
        decode_texts(&[
            ("cloudEvents_partitionkey", "7"),
            ("cloudEvents:partitionkey", other),
        ])
    };
    assert_eq!(key("7").unreadable, None);
    let problem = r#"headers "cloudEvents_partitionkey" and "cloudEvents:partitionkey" differ"#;
    assert_eq!(key("8").unreadable.as_deref(), Some(problem));
}

#[test]
fn an_empty_property_gives_way_to_a_header() {
    let mut headers = FieldTable::default();
    for name in ["cloudEvents_id", "cloudEvents_type"] {
        headers.insert(name.into(), AMQPValue::LongString("h".into()));
    }
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_message_id("".into())
        .with_type("".into());
    let message = decode("t", &properties);
    assert_eq!(message.message_id.as_deref(), Some("h"));
    assert_eq!(message.type_name.as_deref(), Some("h"));
}

/// Reads an event in structured mode.
fn structured(content_type: &str, body: &str) -> (Incoming, Vec<u8>) {
    let properties = BasicProperties::default().with_content_type(content_type.into());
    read("t", &properties, body.as_bytes().to_vec())
}

const JSON: &str = "application/cloudevents+json; charset=UTF-8";

#[test]
fn an_event_in_structured_mode_is_read() {
    let event = |data: &str| {
        let attributes =
            r#""specversion":"1.0","id":"1","source":"/s","type":"t","partitionkey":7"#;
        structured(JSON, &format!("{{{attributes},{data}}}"))
    };
    let (message, body) = event(r#""time":"2026-01-02T03:04:05Z","tenant":"n","data":{"n": 1.0}"#);
    assert_eq!(message.unreadable, None);
    let read = [
        message.message_id,
        message.source,
        message.type_name,
        message.key,
        message.content_type,
    ];
    let read = read.map(Option::unwrap);
    assert_eq!(read, ["1", "/s", "t", "7", "application/json"]);
    assert_eq!(
        message.occurred_at,
        DateTime::from_timestamp(1_767_323_045, 0)
    );
    assert_eq!(message.headers.text("cloudEvents:tenant"), Some("n"));
    assert_eq!(body, br#"{"n": 1.0}"#);
    let text = event(r#""datacontenttype":"text/xml","data":"<a/>""#);
    assert_eq!(text.1, b"<a/>");
    let bytes = event(r#""data_base64":"AP8=""#);
    assert_eq!(bytes.1, [0, 255]);
}

#[test]
fn an_event_in_structured_mode_that_cannot_be_read_is_named() {
    let whole = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","partitionkey":[]}"#;
    let cases = [
        (JSON, "{", "the body is no event"),
        (JSON, r#"{"id":"1"}"#, "the event has no specversion"),
        (JSON, r#"{"specversion":"0.3"}"#, "is not 1.0"),
        (
            JSON,
            r#"{"specversion":"1.0","id":""}"#,
            "the event has no id",
        ),
        (JSON, whole, "partitionkey is no text"),
        ("application/cloudevents-batch+json", "[]", "a batch"),
        ("application/cloudevents+avro", "", "read in JSON"),
    ];
    for (content_type, body, problem) in cases {
        let (message, received) = structured(content_type, body);
        let told = message.unreadable.unwrap();
        assert!(
            told.starts_with("content_type \"application/cloudevents"),
            "{told}"
        );
        assert!(told.contains(problem), "{told}");
        assert_eq!(received, body.as_bytes());
    }
}

#[test]
fn a_message_names_the_slot_of_its_key_or_of_its_id() {
    let headers = Headers::new();
    let mut message = Outgoing {
        message_id: "0190b5d2-7e7a-7000-8000-000000000001".parse().unwrap(),
        topic: "t",
        key: Some("customer-7"),
        type_name: "t",
        content_type: "text/plain",
        headers: &headers,
        occurred_at: DateTime::UNIX_EPOCH,
        source: "s",
        user_id: None,
    };
    for (key, slot) in [(Some("customer-7"), "8"), (None, "51")] {
        message.key = key;
        let properties = encode(&message).unwrap().properties;
        let table = properties.headers().as_ref().unwrap();
        let sent = table.inner().get("postroom-slot");
        assert_eq!(sent, Some(&AMQPValue::LongString(slot.into())));
        assert_eq!(decode("t", &properties).headers, headers);
    }
}
