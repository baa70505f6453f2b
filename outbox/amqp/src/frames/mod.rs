//! Filter that rewrites frames from the broker which the client could not read (AMQP 0-9-1, section 4.2.3).
//!
//! Bodies and heartbeats pass unchanged. Methods and content headers are buffered until they are complete: a
//! text that is not UTF-8, or a header that is nested too deeply or makes the frame too large, is removed, and
//! the message gets the header [`UNREADABLE`] with the reason.

mod content;
mod method;
mod reader;

use std::{collections::HashMap, io};

use crate::server::Greeting;

/// Header with the reason why a message cannot be read as its publisher sent it.
pub const UNREADABLE: &str = "postroom-unreadable";

/// Most levels of arrays and tables within a header.
pub const MAX_DEPTH: usize = 32;

/// Size of a frame's type, channel and size fields.
const HEADER_BYTES: usize = 7;

/// Size of a frame without its payload.
const OVERHEAD: usize = HEADER_BYTES + 1;

/// Smallest effective value of `frame_max` (section 4.2.3).
const FRAME_MIN: usize = 4_096;

/// Last byte of each frame.
const FRAME_END: u8 = 0xCE;

/// Largest number of bytes of a method or content header that are held. RabbitMQ sends a content header in one
/// frame, even if it is larger than `frame_max`: the management API accepts headers of many megabytes.
const LARGEST_HELD: usize = 8 * 1024 * 1024;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;

/// Makes a connection's frames readable, whatever chunks they are read in.
#[derive(Debug)]
pub struct FrameFilter {
    state: State,
    /// Flaws of the method before a message's content header, by channel.
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
    /// Collects the first `bytes` bytes of a frame; `skipped` more follow.
    Holding {
        frame: Vec<u8>,
        bytes: usize,
        skipped: usize,
    },
    /// Skips the last `left` bytes of a frame that is larger than [`LARGEST_HELD`].
    Skipping { frame: Vec<u8>, left: usize },
    /// Passes everything on, because the server does not speak AMQP 0-9-1.
    Foreign,
}

impl Default for FrameFilter {
    fn default() -> Self {
        Self::new(None, Greeting::default())
    }
}

impl FrameFilter {
    /// Makes a filter for a client that asks for `frame_max`, or for none; the server may ask for less.
    pub(crate) fn new(frame_max: Option<u32>, greeting: Greeting) -> Self {
        Self {
            state: State::Header(Vec::with_capacity(HEADER_BYTES)),
            flaws: HashMap::new(),
            frame_max: limit(frame_max.unwrap_or_default()),
            greeting,
        }
    }

    /// Appends to `output` the bytes that the client reads instead of `input`.
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
                        // Finish the held part as if the frame ended there.
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

    /// Appends a complete method or content header, made readable.
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
            self.greeting.received(payload);
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

/// Returns the largest frame under a `frame_max`; 0 means no limit.
const fn limit(frame_max: u32) -> usize {
    match frame_max as usize {
        0 => usize::MAX,
        small if small < FRAME_MIN => FRAME_MIN,
        frame_max => frame_max,
    }
}

/// Collects a frame's header, and chooses the next state once the header is complete.
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
