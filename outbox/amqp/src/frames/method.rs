//! Methods from the broker that carry texts chosen by other users (AMQP 0-9-1, section 1.1).

use std::fmt::Write as _;

use super::reader::{Flaw, Reader};

/// Number of bytes of an unreadable text that are shown.
const SHOWN_BYTES: usize = 32;

/// Size of a list of flaws beyond which no flaw is added.
pub(super) const REASON_BYTES: usize = 400;

const CONNECTION_START: [u16; 2] = [10, 10];
const CONNECTION_TUNE: [u16; 2] = [10, 30];
const CONNECTION_CLOSE: [u16; 2] = [10, 50];
const CONNECTION_BLOCKED: [u16; 2] = [10, 60];
const CHANNEL_CLOSE: [u16; 2] = [20, 40];
const BASIC_CANCEL: [u16; 2] = [60, 30];
const BASIC_RETURN: [u16; 2] = [60, 50];
const BASIC_DELIVER: [u16; 2] = [60, 60];
const BASIC_GET_OK: [u16; 2] = [60, 71];

/// An argument of a method.
#[derive(Debug, Clone, Copy)]
enum Argument {
    /// A short string of this name.
    Text(&'static str),
    /// This many bytes.
    Bytes(usize),
}

use Argument::{Bytes, Text};

/// Returns `true` if a method is the server's greeting.
pub(super) fn is_greeting(payload: &[u8]) -> bool {
    name(payload) == Some(CONNECTION_START)
}

/// Returns the `frame_max` that the server asks for; `None` if the method is not `connection.tune`.
pub(super) fn frame_max(payload: &[u8]) -> Option<u32> {
    if name(payload) != Some(CONNECTION_TUNE) {
        return None;
    }
    // After the method's name and `channel_max`.
    let bytes = payload.get(6..10)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Returns `true` if a content header follows the method.
pub(super) fn has_content(payload: &[u8]) -> bool {
    matches!(
        name(payload),
        Some(BASIC_RETURN | BASIC_DELIVER | BASIC_GET_OK)
    )
}

/// Returns the method with each short string in UTF-8, and the flaws that were removed; `None` if the method is
/// readable, unknown or malformed.
pub(super) fn readable(payload: &[u8]) -> Option<(Vec<u8>, String)> {
    let layout = arguments(name(payload)?)?;
    let mut flaws = String::new();
    let mut readable = payload.to_vec();
    let mut reader = Reader(&payload[4..]);
    for argument in layout {
        match argument {
            Bytes(count) => drop(reader.take(*count).ok()?),
            Text(name) => {
                let text = reader.short_string().ok()?;
                if std::str::from_utf8(text).is_err() {
                    let end = payload.len() - reader.0.len();
                    readable[end - text.len()..end]
                        .iter_mut()
                        .filter(|byte| !byte.is_ascii())
                        .for_each(|byte| *byte = b'?');
                    add(&mut flaws, &not_utf8(name, text));
                }
            }
        }
    }
    (!flaws.is_empty()).then_some((readable, flaws))
}

/// Returns the class and the number of a method.
fn name(payload: &[u8]) -> Option<[u16; 2]> {
    let mut reader = Reader(payload);
    let mut number = || -> Result<u16, Flaw> { reader.u16() };
    Some([number().ok()?, number().ok()?])
}

/// Returns a method's arguments up to the last text.
const fn arguments(name: [u16; 2]) -> Option<&'static [Argument]> {
    Some(match name {
        CONNECTION_CLOSE | CHANNEL_CLOSE => &[Bytes(2), Text("reply-text")],
        CONNECTION_BLOCKED => &[Text("reason")],
        BASIC_CANCEL => &[Text("consumer-tag")],
        BASIC_RETURN => &[
            Bytes(2),
            Text("reply-text"),
            Text("exchange"),
            Text("routing-key"),
        ],
        BASIC_DELIVER => &[
            Text("consumer-tag"),
            // Delivery tag and `redelivered`.
            Bytes(9),
            Text("exchange"),
            Text("routing-key"),
        ],
        BASIC_GET_OK => &[Bytes(9), Text("exchange"), Text("routing-key")],
        _ => return None,
    })
}

/// Describes a text that is not UTF-8, with its first bytes.
pub(super) fn not_utf8(name: &str, text: &[u8]) -> String {
    let mut said = format!("{name} is not UTF-8 (hexadecimal ");
    for byte in text.iter().take(SHOWN_BYTES) {
        // Writing to a string does not fail.
        let _ = write!(said, "{byte:02x}");
    }
    said.push_str(if text.len() > SHOWN_BYTES {
        "…)"
    } else {
        ")"
    });
    said
}

/// Adds a flaw to a list of them.
pub(super) fn add(flaws: &mut String, flaw: &str) {
    if flaws.len() > REASON_BYTES {
        return;
    }
    if !flaws.is_empty() {
        flaws.push_str("; ");
    }
    flaws.push_str(flaw);
}
