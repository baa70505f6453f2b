//! From frames to a handler.

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame, parsing::parse_frame},
    protocol::AMQPClass,
};
use amqp::frames::FrameFilter;
use inbox::Delivery;
use serde::Deserialize;

use crate::field;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;

/// Delivers a message: its routing key, its properties from their flags on, and its body.
///
/// For any bytes, the client parses the frames that come out of the filter, and the inbox makes a
/// delivery of them. Further bytes are a stream of frames, of which the client parses what it can.
pub fn delivery(mut data: &[u8]) {
    let (routing_key, properties, body) = (field(&mut data), field(&mut data), field(&mut data));
    let mut frames = frame(METHOD, &deliver(routing_key));
    let header = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], properties].concat();
    frames.extend_from_slice(&frame(CONTENT_HEADER, &header));
    let frames = filtered(&frames, data.len());
    let (frames, method) = parse_frame(&*frames).expect("the client reads the method");
    let (rest, header) = parse_frame(frames).expect("the client reads the content header");
    assert!(rest.is_empty(), "two frames went in");
    handle(&method, &header, body);
    let stream = filtered(data, 7);
    let mut rest = &*stream;
    while let Ok((next, _)) = parse_frame(rest) {
        rest = next;
    }
}

fn handle(method: &AMQPFrame, header: &AMQPFrame, body: &[u8]) {
    use amq_protocol::protocol::basic::AMQPMethod::Deliver;
    let AMQPFrame::Method(_, AMQPClass::Basic(Deliver(deliver))) = method else {
        panic!("{method:?} is no delivery");
    };
    let AMQPFrame::Header(_, AMQPContentHeader { properties, .. }) = header else {
        panic!("{header:?} is no content header");
    };
    let routing_key = deliver.routing_key.as_str();
    let (message, body) = amqp::read(routing_key, properties, body.to_vec());
    let delivery = Delivery::new(message, body);
    let message = delivery.message();
    let texts = [&message.message_id, &message.key, &message.source];
    for text in texts.into_iter().flatten() {
        assert!(!text.contains('\0'), "PostgreSQL stores no NUL");
    }
    drop(serde_json::from_slice::<Event>(delivery.body()));
}

/// Body that the handler takes.
#[derive(Deserialize)]
#[expect(dead_code, reason = "read by nobody but serde")]
struct Event {
    order: i64,
    note: Option<String>,
    lines: Vec<serde_json::Value>,
}

/// The arguments of `basic.deliver`.
fn deliver(routing_key: &[u8]) -> Vec<u8> {
    let key = &routing_key[..routing_key.len().min(255)];
    let tag = [&[0, 60, 0, 60, 1, b't'][..], &[0; 9]].concat();
    [&tag, &b"\x08postroom"[..], &[key.len() as u8], key].concat()
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&[kind, 0, 1], &length[..], payload, &[0xCE]].concat()
}

/// Passes bytes through the filter in pieces.
fn filtered(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut filter = FrameFilter::default();
    let mut output = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        if filter.filter(piece, &mut output).is_err() {
            break;
        }
    }
    output
}
