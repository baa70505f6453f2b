//! From a row to frames.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, gen_frame, parsing::parse_frame};
use amqp::frames::FrameFilter;
use chrono::{DateTime, Datelike as _, Utc};
use outbox::Headers;
use uuid::Uuid;

use crate::field;

/// The frame size of RabbitMQ's default configuration.
const FRAME_MAX: usize = 131_072;

/// Encodes a row: its headers as JSON, topic, key, type, content type, id and time.
///
/// A message either can be carried, and a consumer reads from it what the row holds; or it is refused. Its
/// properties fit a frame, and need no change by a consumer's filter.
pub fn row(mut data: &[u8]) {
    let Ok(serde_json::Value::Object(headers)) = serde_json::from_slice(field(&mut data)) else {
        return;
    };
    let headers = Headers::from_json(headers);
    let texts: [String; 4] =
        std::array::from_fn(|_| String::from_utf8_lossy(field(&mut data)).into_owned());
    let [topic, key, type_name, content_type] = &texts;
    let number = |bytes: &[u8]| {
        let bytes = bytes.iter().take(16);
        bytes.fold(0_u128, |number, byte| number << 8 | u128::from(*byte))
    };
    let message = amqp::Outgoing {
        message_id: Uuid::from_u128(number(field(&mut data))),
        topic,
        key: (!key.is_empty()).then_some(key.as_str()),
        type_name,
        content_type,
        headers: &headers,
        occurred_at: time(number(data) as i64),
        source: "orders",
        user_id: None,
    };
    let Ok(published) = amqp::encode(&message) else {
        return;
    };
    let header = AMQPContentHeader {
        class_id: 60,
        body_size: 0,
        properties: published.properties,
    };
    let frame = encoded(&AMQPFrame::Header(1, header));
    let mut readable = Vec::new();
    let mut filter = FrameFilter::default();
    filter.filter(&frame, &mut readable).expect("a small frame");
    assert_eq!(readable, frame, "a consumer reads it as it is");
    let (_, parsed) = parse_frame(&*readable).expect("the client reads it");
    let AMQPFrame::Header(_, header) = parsed else {
        panic!("{parsed:?} is no content header");
    };
    let incoming = amqp::decode(published.routing_key.as_str(), &header.properties);
    assert_eq!(incoming.message_id, Some(message.message_id.to_string()));
    assert_eq!(incoming.topic, *topic);
    assert_eq!(incoming.key.as_deref(), message.key);
    let type_name = (!type_name.is_empty()).then_some(type_name.as_str());
    assert_eq!(incoming.type_name.as_deref(), type_name);
    // Times up to 1970 stand for no time.
    let occurred_at = Some(message.occurred_at).filter(|time| *time > DateTime::UNIX_EPOCH);
    assert_eq!(incoming.occurred_at, occurred_at);
    assert_eq!(incoming.unreadable, None);
}

/// A time of the years 1 to 9999: the relay rejects others before.
fn time(micros: i64) -> DateTime<Utc> {
    let time = DateTime::from_timestamp_micros(micros);
    time.filter(|time| (1..=9_999).contains(&time.year()))
        .unwrap_or_default()
}

fn encoded(frame: &AMQPFrame) -> Vec<u8> {
    let mut buffer = vec![0; FRAME_MAX];
    let written = gen_frame(frame)(buffer.as_mut_slice().into()).expect("it fits a frame");
    let length = written.into_inner().1;
    buffer.truncate(length as usize);
    buffer
}
