use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame, gen_frame, parsing::parse_frame},
    protocol::{
        AMQPClass,
        basic::{self, AMQPProperties},
        channel,
    },
    types::{AMQPValue, FieldArray, FieldTable},
};
use proptest::prelude::*;

use super::{FrameFilter, MAX_DEPTH, UNREADABLE};

/// Passes bytes through a filter in pieces.
fn filtered(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut filter = FrameFilter::default();
    let mut output = Vec::new();
    for piece in bytes.chunks(piece) {
        filter.filter(piece, &mut output).unwrap();
    }
    output
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0, 7];
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(0xCE);
    frame
}

/// Makes a content header from flags and encoded properties.
fn content_header(flags: u16, properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    payload.extend_from_slice(&flags.to_be_bytes());
    payload.extend_from_slice(properties);
    frame(2, &payload)
}

const HEADERS: u16 = 1 << 13;
const MESSAGE_ID: u16 = 1 << 7;
const TYPE: u16 = 1 << 5;

fn short(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

fn long(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], &(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn table(fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let fields: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| [short(name.as_bytes()), value.clone()].concat())
        .collect();
    long(b'F', &fields)[1..].to_vec()
}

/// Makes nested arrays or tables.
fn nested(kind: u8, levels: usize) -> Vec<u8> {
    let name: &[u8] = if kind == b'F' { &[1, b'x'] } else { &[] };
    (1..levels).fold(long(kind, b""), |inner, _| {
        long(kind, &[name, &inner].concat())
    })
}

fn properties(bytes: &[u8]) -> AMQPProperties {
    match parse_frame(bytes) {
        Ok((&[], AMQPFrame::Header(7, header))) => {
            assert_eq!(header.body_size, 5);
            header.properties
        }
        other => panic!("{other:?}"),
    }
}

fn header(properties: &AMQPProperties, name: &str) -> Option<AMQPValue> {
    properties.headers().as_ref()?.inner().get(name).cloned()
}

fn reason(properties: &AMQPProperties) -> String {
    match header(properties, UNREADABLE) {
        Some(AMQPValue::LongString(reason)) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn readable_frames_pass_as_they_are() {
    let mut headers = FieldTable::default();
    let array = FieldArray::from(vec![
        AMQPValue::Void,
        AMQPValue::FieldTable(headers.clone()),
    ]);
    headers.insert("deaths".into(), AMQPValue::FieldArray(array));
    headers.insert("text".into(), AMQPValue::LongString(vec![0xFF].into()));
    let properties = AMQPProperties::default()
        .with_message_id("ä".into())
        .with_timestamp(u64::MAX)
        .with_headers(headers);
    let mut bytes = Vec::new();
    for frame in [
        AMQPFrame::Method(
            7,
            AMQPClass::Channel(channel::AMQPMethod::FlowOk(channel::FlowOk {
                active: true,
            })),
        ),
        AMQPFrame::Header(
            7,
            AMQPContentHeader {
                class_id: 60,
                body_size: 5,
                properties,
            },
        ),
        AMQPFrame::Body(7, b"hello".to_vec()),
        AMQPFrame::Heartbeat,
    ] {
        let mut buffer = vec![0; 4_096];
        let length = gen_frame(&frame)(buffer.as_mut_slice().into())
            .unwrap()
            .into_inner()
            .1;
        bytes.extend_from_slice(&buffer[..length as usize]);
    }
    for piece in [1, 3, 8, bytes.len()] {
        assert_eq!(filtered(&bytes, piece), bytes);
    }
}

#[test]
fn deep_headers_are_left_out_and_reported() {
    for (kind, levels) in [(b'A', 26_000), (b'F', 18_000), (b'A', MAX_DEPTH + 1)] {
        let fields = table(&[
            ("before", vec![b't', 1]),
            ("deep", nested(kind, levels)),
            ("fits", nested(kind, MAX_DEPTH)),
        ]);
        let bytes = content_header(HEADERS | TYPE, &[fields, short(b"placed")].concat());
        let properties = properties(&filtered(&bytes, 1_000));
        assert_eq!(
            reason(&properties),
            "header \"deep\" is nested more than 32 levels deep"
        );
        assert_eq!(
            header(&properties, "before"),
            Some(AMQPValue::Boolean(true))
        );
        assert_eq!(header(&properties, "deep"), None);
        assert!(header(&properties, "fits").is_some());
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "placed");
    }
}

#[test]
fn texts_that_are_not_utf8_are_left_out_and_reported() {
    let fields = [short(b"n\xFF"), vec![b'V'], short(b"good"), vec![b'V']].concat();
    let inner = [short(b"\xFE"), vec![b'V']].concat();
    let fields = [fields, short(b"inner"), long(b'F', &inner)].concat();
    let fields = long(b'F', &fields)[1..].to_vec();
    let values = [fields, short(b"caf\xE9"), short(b"placed")].concat();
    let bytes = content_header(HEADERS | MESSAGE_ID | TYPE, &values);
    let properties = properties(&filtered(&bytes, 5));
    let reason = reason(&properties);
    for said in [
        "the name of a header is not UTF-8 (hexadecimal 6eff)",
        "header \"inner\" holds a field whose name is not UTF-8",
        "message_id is not UTF-8 (hexadecimal 636166e9)",
    ] {
        assert!(reason.contains(said), "{reason}");
    }
    assert_eq!(*properties.message_id(), None);
    assert!(header(&properties, "good").is_some());
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), "placed");
}

#[test]
fn headers_after_a_malformed_one_are_left_out() {
    let unknown = table(&[
        ("good", vec![b'V']),
        ("odd", vec![b'Z', 1, 2]),
        ("lost", vec![b'V']),
    ]);
    let bytes = content_header(HEADERS | TYPE, &[unknown, short(b"placed")].concat());
    let odd = properties(&filtered(&bytes, 100));
    assert_eq!(reason(&odd), "headers: the rest is malformed");
    assert!(header(&odd, "good").is_some());
    assert_eq!(odd.kind().as_ref().unwrap().as_str(), "placed");
    let cut = content_header(HEADERS | TYPE, &[0, 0, 0, 9, 1]);
    assert_eq!(
        reason(&properties(&filtered(&cut, 100))),
        "properties: is malformed"
    );
}

#[test]
fn a_routing_key_that_is_not_utf8_is_reported_with_its_message() {
    let deliver = [
        vec![0, 60, 0, 60],
        short(b"tag"),
        vec![0, 0, 0, 0, 0, 0, 0, 1, 0],
        short(b"postroom"),
        short(b"orders.\xFF"),
    ];
    let good = content_header(TYPE, &short(b"placed"));
    let bytes = [frame(1, &deliver.concat()), good.clone(), good.clone()].concat();
    let bytes = filtered(&bytes, 11);
    let (rest, method) = parse_frame(&*bytes).unwrap();
    let AMQPFrame::Method(7, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) = method else {
        panic!("{method:?}");
    };
    assert_eq!(deliver.routing_key.as_str(), "orders.?");
    let (first, second) = rest.split_at(rest.len() - good.len());
    let told = properties(first);
    assert!(reason(&told).contains("routing-key is not UTF-8"));
    assert_eq!(second, good);
}

/// RabbitMQ cuts its texts at 255 bytes, which may be within a character.
#[test]
fn a_reply_that_is_cut_within_a_character_is_read() {
    let text = [&[b'x'; 254][..], &"ä".as_bytes()[..1]].concat();
    let close = [vec![0, 20, 0, 40, 1, 147], short(&text), vec![0, 0, 0, 0]].concat();
    let bytes = filtered(&frame(1, &close), 100);
    let (_, method) = parse_frame(&*bytes).unwrap();
    let AMQPFrame::Method(7, AMQPClass::Channel(channel::AMQPMethod::Close(close))) = method else {
        panic!("{method:?}");
    };
    assert_eq!(close.reply_code, 403);
    assert!(close.reply_text.as_str().ends_with("xx?"));
}

/// A header frame of a client that asks for small frames, or of a message that a queue counted redeliveries in.
#[test]
fn headers_that_do_not_fit_a_frame_are_left_out_and_reported() {
    let mut filter = FrameFilter::default();
    let tune = [&[0, 10, 0, 30, 0, 0][..], &8_192_u32.to_be_bytes(), &[0, 0]];
    let headers = table(&[
        ("first", long(b'S', &[b'x'; 3_000])),
        ("large", long(b'S', &[b'x'; 6_000])),
        ("last", vec![b't', 1]),
    ]);
    let fits = content_header(HEADERS, &table(&[("fits", long(b'S', &[b'x'; 8_156]))]));
    assert_eq!(fits.len(), 8_192);
    let bytes = [
        frame(1, &tune.concat()),
        content_header(HEADERS, &headers),
        fits.clone(),
    ];
    let mut output = Vec::new();
    filter.filter(&bytes.concat(), &mut output).unwrap();
    let (rest, _) = parse_frame(&*output).unwrap();
    let (shorter, whole) = rest.split_at(rest.len() - fits.len());
    assert_eq!(whole, fits);
    assert!(shorter.len() <= 8_192);
    let shorter = properties(shorter);
    assert_eq!(reason(&shorter), "header \"large\" does not fit a frame");
    assert!(header(&shorter, "first").is_some() && header(&shorter, "last").is_some());
}

#[test]
fn servers_of_other_protocols_are_passed_on() {
    let bytes = b"AMQP\x00\x01\x00\x00 and more";
    assert_eq!(filtered(bytes, 3), bytes);
    let huge = [&[1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF][..], b"HTTP"].concat();
    assert!(
        FrameFilter::default()
            .filter(&huge, &mut Vec::new())
            .is_err()
    );
}

/// A publisher may set the header itself, with characters that PostgreSQL cannot store.
#[test]
fn a_reason_that_a_publisher_gives_is_not_believed() {
    let forged = table(&[(UNREADABLE, long(b'S', b"a\0b")), ("good", vec![b't', 1])]);
    let properties = properties(&filtered(&content_header(HEADERS, &forged), 9));
    assert_eq!(
        reason(&properties),
        "header \"postroom-unreadable\" is Postroom's own"
    );
    assert!(header(&properties, "good").is_some());
}

/// RabbitMQ sends a content header of any size in one frame. The work must not grow with the square of it.
#[test]
fn headers_of_any_number_and_size_are_made_to_fit() {
    let greeting = crate::server::Greeting::default;
    let many = table(&vec![("", vec![b'V']); 500_000]);
    let large = table(&[("fill", long(b'S', &vec![b'x'; 9 * 1024 * 1024]))]);
    let good = content_header(TYPE, &short(b"placed"));
    for (headers, told) in [(many, "does not fit a frame"), (large, "malformed")] {
        let mut filter = FrameFilter::new(None, greeting());
        let mut output = Vec::new();
        let tune = [
            &[0, 10, 0, 30, 0, 0][..],
            &131_072_u32.to_be_bytes(),
            &[0, 0],
        ];
        filter
            .filter(&frame(1, &tune.concat()), &mut output)
            .unwrap();
        output.clear();
        let bytes = [content_header(HEADERS, &headers), good.clone()].concat();
        for piece in bytes.chunks(65_536) {
            filter.filter(piece, &mut output).unwrap();
        }
        let (first, second) = output.split_at(output.len() - good.len());
        assert_eq!(second, good);
        assert!(first.len() <= 131_072);
        let reason = reason(&properties(first));
        assert!(reason.contains(told), "{reason}");
    }
}

proptest! {
    /// The client can parse the output for any input.
    #[test]
    fn any_content_header_can_be_parsed(
        flags in any::<u16>(),
        properties in proptest::collection::vec(any::<u8>(), 0..600),
        piece in 1_usize..700,
    ) {
        let bytes = filtered(&content_header(flags, &properties), piece);
        let (rest, _) = parse_frame(&*bytes).unwrap();
        prop_assert!(rest.is_empty());
    }
}
