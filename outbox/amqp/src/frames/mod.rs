//! Frames from the broker, changed where the client could not read them (AMQP 0-9-1, section 4.2.3).
//!
//! Bodies and heartbeats pass through as they are. Methods and content headers are held until they are
//! whole: a text in them that is not UTF-8, or a header that is nested too deeply or makes the frame too
//! large, is taken out, and the message gets the header [`UNREADABLE`] with the reason.

mod content;
mod method;
mod reader;

use std::{collections::HashMap, io};

use crate::server::Greeting;

/// Header that tells why a message cannot be read as its publisher sent it.
pub const UNREADABLE: &str = "postroom-unreadable";

/// Most levels of arrays and tables within a header.
pub const MAX_DEPTH: usize = 32;

/// Type, channel and size.
const HEADER_BYTES: usize = 7;

/// A frame's bytes beside its payload.
const OVERHEAD: usize = HEADER_BYTES + 1;

/// Smallest value of `frame_max`, whatever is asked for (section 4.2.3).
const FRAME_MIN: usize = 4_096;

/// Follows each payload.
const FRAME_END: u8 = 0xCE;

/// Most bytes of a frame that are held. RabbitMQ sends a content header of any size in one frame, whatever
/// `frame_max` is: its management API takes messages with headers of many megabytes.
const LARGEST_HELD: usize = 8 * 1024 * 1024;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;

/// Makes a connection's frames readable, however they are cut into reads.
#[derive(Debug)]
pub struct FrameFilter {
    state: State,
    /// What is unreadable in the method before a message's content header, by channel.
    flaws: HashMap<u16, String>,
    /// Largest frame that the client accepts.
    frame_max: usize,
    greeting: Greeting,
}

#[derive(Debug)]
enum State {
    /// Collects the bytes of a frame's header.
    Header(Vec<u8>),
    /// Passes on this many bytes.
    Passing(usize),
    /// Collects a frame until it has this many bytes, and skips as many after them.
    Holding {
        frame: Vec<u8>,
        bytes: usize,
        skipped: usize,
    },
    /// Skips the rest of a frame that is too large to be held.
    Skipping { frame: Vec<u8>, left: usize },
    /// Passes everything on: the server speaks no AMQP 0-9-1.
    Foreign,
}

impl Default for FrameFilter {
    fn default() -> Self {
        Self::new(None, Greeting::default())
    }
}

impl FrameFilter {
    /// Makes a filter for a client that asks for a `frame_max`, if it does; the server may ask for less.
    pub(crate) fn new(frame_max: Option<u32>, greeting: Greeting) -> Self {
        Self {
            state: State::Header(Vec::with_capacity(HEADER_BYTES)),
            flaws: HashMap::new(),
            frame_max: limit(frame_max.unwrap_or_default()),
            greeting,
        }
    }

    /// Appends to `output` what the client is to read instead of `input`.
    ///
    /// # Errors
    /// Fails if a method or content header is larger than any server sends.
    pub fn filter(&mut self, mut input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
        while !input.is_empty() {
            self.state = match std::mem::replace(&mut self.state, State::Foreign) {
                State::Header(header) => begin(header, &mut input, output)?,
                State::Passing(left) => {
                    let passed = left.min(input.len());
                    output.extend_from_slice(take(&mut input, passed));
                    after_passing(left - passed)
                }
                State::Holding {
                    mut frame,
                    bytes,
                    skipped,
                } => {
                    let missing = (bytes - frame.len()).min(input.len());
                    frame.extend_from_slice(take(&mut input, missing));
                    if frame.len() < bytes {
                        State::Holding {
                            frame,
                            bytes,
                            skipped,
                        }
                    } else if skipped > 0 {
                        State::Skipping {
                            frame,
                            left: skipped,
                        }
                    } else {
                        self.finish(&frame, output);
                        frame.clear();
                        State::Header(frame)
                    }
                }
                State::Skipping { mut frame, left } => {
                    let skipped = take(&mut input, left).len();
                    if skipped < left {
                        State::Skipping {
                            frame,
                            left: left - skipped,
                        }
                    } else {
                        // Its beginning, as a frame that ends there.
                        frame.push(FRAME_END);
                        self.finish(&frame, output);
                        State::Header(Vec::with_capacity(HEADER_BYTES))
                    }
                }
                State::Foreign => {
                    output.extend_from_slice(take(&mut input, usize::MAX));
                    State::Foreign
                }
            };
        }
        Ok(())
    }

    /// Appends a whole method or content header, made readable.
    fn finish(&mut self, frame: &[u8], output: &mut Vec<u8>) {
        let payload = &frame[HEADER_BYTES..frame.len() - 1];
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let readable = if frame[frame.len() - 1] != FRAME_END {
            // The client refuses the frame.
            None
        } else if frame[0] == METHOD {
            self.method(channel, payload)
        } else {
            let flaw = self.flaws.remove(&channel);
            content::readable(payload, flaw, self.frame_max - OVERHEAD)
        };
        let Some(readable) = readable else {
            output.extend_from_slice(frame);
            return;
        };
        output.extend_from_slice(&frame[..3]);
        output.extend_from_slice(&(readable.len() as u32).to_be_bytes());
        output.extend_from_slice(&readable);
        output.push(FRAME_END);
    }

    fn method(&mut self, channel: u16, payload: &[u8]) -> Option<Vec<u8>> {
        if method::is_greeting(payload) {
            self.greeting.heard(payload);
        }
        if let Some(frame_max) = method::frame_max(payload) {
            self.frame_max = self.frame_max.min(limit(frame_max));
        }
        let (readable, flaw) = method::readable(payload)?;
        if method::has_content(payload) {
            self.flaws.insert(channel, flaw);
        }
        Some(readable)
    }
}

/// Returns the largest frame under a `frame_max`, of which 0 means that there is no limit.
const fn limit(frame_max: u32) -> usize {
    match frame_max as usize {
        0 => usize::MAX,
        small if small < FRAME_MIN => FRAME_MIN,
        frame_max => frame_max,
    }
}

/// Decides what happens to a frame once its header is whole.
fn begin(mut header: Vec<u8>, input: &mut &[u8], output: &mut Vec<u8>) -> io::Result<State> {
    let missing = (HEADER_BYTES - header.len()).min(input.len());
    header.extend_from_slice(take(input, missing));
    // "AMQP", then the version that the server speaks (section 4.2.2).
    if header.first() == Some(&b'A') {
        output.append(&mut header);
        return Ok(State::Foreign);
    }
    let Some(&[kind, _, _, a, b, c, d]) = header.first_chunk::<HEADER_BYTES>() else {
        return Ok(State::Header(header));
    };
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    if !matches!(kind, METHOD | CONTENT_HEADER) {
        output.append(&mut header);
        return Ok(State::Passing(size + 1));
    }
    if kind == METHOD && size > LARGEST_HELD {
        let text = format!(
            "the broker sent a frame of {size} bytes, which holds no body; is this an AMQP server?"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let bytes = size + OVERHEAD;
    let held = bytes.min(HEADER_BYTES + LARGEST_HELD);
    Ok(State::Holding {
        frame: header,
        bytes: held,
        skipped: bytes - held,
    })
}

fn after_passing(left: usize) -> State {
    if left == 0 {
        State::Header(Vec::with_capacity(HEADER_BYTES))
    } else {
        State::Passing(left)
    }
}

/// Splits off at most `count` bytes.
fn take<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(count.min(input.len()));
    *input = rest;
    taken
}

#[cfg(test)]
mod tests;
