//! The limit of the broker: pre-encoded frames written to one socket (AMQP 0-9-1, 4.2).

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use url::Url;
use uuid::Uuid;

/// Largest number of unconfirmed messages.
const MAX_UNCONFIRMED: u64 = 8_192;

/// Number of messages in one write.
const CHUNK: usize = 64;

/// Number of confirms after which a blocked writer continues, so that it wakes seldom.
const RESUME_AFTER: u64 = MAX_UNCONFIRMED / 8;

/// Longest wait for the broker.
const TIMEOUT: Duration = Duration::from_mins(1);

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xCE;

/// Class and method of basic.ack
const ACK: [u8; 4] = [0, 60, 0, 80];

/// Publishes `count` messages, and returns the number confirmed per second. Blocks its thread.
pub(crate) fn publish(
    url: &str,
    topic: &str,
    count: u64,
    keys: u64,
    body: &[u8],
) -> anyhow::Result<f64> {
    let chunks: Vec<Vec<u8>> = (0..count)
        .collect::<Vec<_>>()
        .chunks(CHUNK)
        .map(|numbers| {
            let messages = numbers
                .iter()
                .map(|n| message(topic, &format!("key-{}", n % keys), body));
            messages.collect::<Vec<_>>().concat()
        })
        .collect();
    let mut socket = connect(url)?;
    let confirmed = Arc::new(Confirmed::default());
    let reader = {
        let (socket, confirmed) = (socket.try_clone()?, Arc::clone(&confirmed));
        std::thread::spawn(move || confirms(socket, &confirmed, count))
    };
    let began = Instant::now();
    let mut sent: u64 = 0;
    for chunk in &chunks {
        if sent.saturating_sub(confirmed.count()) > MAX_UNCONFIRMED {
            confirmed.wait_for(sent - MAX_UNCONFIRMED + RESUME_AFTER)?;
        }
        socket.write_all(chunk)?;
        sent = (sent + CHUNK as u64).min(count);
    }
    match reader.join() {
        Ok(read) => read?,
        Err(_) => bail!("reading confirms failed"),
    }
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Number of confirmed messages. The writer sleeps until it grows: polling would take processor time from
/// the measured broker.
#[derive(Debug, Default)]
struct Confirmed {
    count: Mutex<u64>,
    grew: Condvar,
}

impl Confirmed {
    fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, count: u64) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) = count;
        self.grew.notify_one();
    }

    /// Waits until the number reaches `goal`.
    fn wait_for(&self, goal: u64) -> anyhow::Result<()> {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .grew
            .wait_timeout_while(count, TIMEOUT, |count| *count < goal);
        let waited = waited.unwrap_or_else(PoisonError::into_inner).1;
        ensure!(!waited.timed_out(), "no confirms for {TIMEOUT:?}");
        Ok(())
    }
}

/// Counts confirms until all have arrived.
fn confirms(socket: TcpStream, confirmed: &Confirmed, count: u64) -> anyhow::Result<()> {
    let mut socket = std::io::BufReader::with_capacity(64 * 1024, socket);
    // All tags up to `upto` are confirmed, and the tags in `above`.
    let (mut upto, mut above) = (0, BTreeSet::new());
    while upto < count {
        let (kind, payload) = read_frame(&mut socket)?;
        if kind != METHOD || !payload.starts_with(&ACK) {
            ensure!(kind != METHOD, "the broker refused: {payload:?}");
            continue;
        }
        let tag = u64::from_be_bytes(payload[4..12].try_into()?);
        if payload[12] & 1 == 1 {
            upto = upto.max(tag);
        } else {
            above.insert(tag);
        }
        while above.first().is_some_and(|first| *first <= upto + 1) {
            upto = upto.max(above.pop_first().unwrap_or_default());
        }
        confirmed.is(upto + above.len() as u64);
    }
    Ok(())
}

/// Encodes a published message: method, header and body.
fn message(topic: &str, key: &str, body: &[u8]) -> Vec<u8> {
    let mut method = vec![0, 60, 0, 40, 0, 0];
    short(&mut method, "postroom");
    short(&mut method, topic);
    method.push(1); // mandatory
    let mut header = vec![0, 60, 0, 0];
    header.extend((body.len() as u64).to_be_bytes());
    // content-type, headers, delivery-mode, message-id, timestamp, type, app-id
    header.extend(0b1011_0000_1110_1000_u16.to_be_bytes());
    let id = Uuid::now_v7().to_string();
    short(&mut header, "application/json");
    let mut table = Vec::new();
    let fields = [
        ("cloudEvents_specversion", "1.0"),
        ("cloudEvents_id", &id),
        ("cloudEvents_source", "bench"),
        ("cloudEvents_type", topic),
        ("cloudEvents_time", "2026-01-01T00:00:00.000000Z"),
        ("cloudEvents_partitionkey", key),
    ];
    for (name, value) in fields {
        short(&mut table, name);
        table.push(b'S');
        table.extend((value.len() as u32).to_be_bytes());
        table.extend(value.as_bytes());
    }
    header.extend((table.len() as u32).to_be_bytes());
    header.extend(table);
    header.push(2); // persistent
    short(&mut header, &id);
    header.extend(1_700_000_000_u64.to_be_bytes());
    short(&mut header, topic);
    short(&mut header, "bench");
    [
        frame(METHOD, 1, &method),
        frame(HEADER, 1, &header),
        frame(BODY, 1, body),
    ]
    .concat()
}

/// Connects, and opens channel 1 with confirms.
fn connect(url: &str) -> anyhow::Result<TcpStream> {
    let url: Url = url.parse()?;
    let host = url.host_str().context("a URL with a host")?;
    let mut socket = TcpStream::connect((host, url.port().unwrap_or(5672)))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.write_all(b"AMQP\x00\x00\x09\x01")?;
    read_frame(&mut socket)?;
    let mut start = vec![0, 10, 0, 11, 0, 0, 0, 0];
    short(&mut start, "PLAIN");
    let login = format!(
        "\0{}\0{}",
        url.username(),
        url.password().unwrap_or_default()
    );
    start.extend((login.len() as u32).to_be_bytes());
    start.extend(login.as_bytes());
    short(&mut start, "en_US");
    socket.write_all(&frame(METHOD, 0, &start))?;
    read_frame(&mut socket)?;
    // tune-ok: as many channels as the broker likes, frames of 128 KiB, no heartbeat
    let tune = [0, 10, 0, 31, 7, 255, 0, 2, 0, 0, 0, 0];
    socket.write_all(&frame(METHOD, 0, &tune))?;
    let mut open = vec![0, 10, 0, 40];
    short(&mut open, url.path().trim_start_matches('/'));
    open.extend([0, 0]);
    socket.write_all(&frame(METHOD, 0, &open))?;
    read_frame(&mut socket)?;
    socket.write_all(&frame(METHOD, 1, &[0, 20, 0, 10, 0]))?;
    read_frame(&mut socket)?;
    socket.write_all(&frame(METHOD, 1, &[0, 85, 0, 10, 0]))?;
    read_frame(&mut socket)?;
    Ok(socket)
}

fn read_frame(socket: &mut impl Read) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut head = [0; 7];
    socket.read_exact(&mut head).context("reading a frame")?;
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let mut payload = vec![0; size + 1];
    socket.read_exact(&mut payload).context("reading a frame")?;
    ensure!(payload.pop() == Some(END), "a frame without its end");
    Ok((head[0], payload))
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(END);
    frame
}

/// Appends a short string: the length in one byte, then the text.
fn short(to: &mut Vec<u8>, text: &str) {
    to.push(text.len() as u8);
    to.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{BODY, frame, message, read_frame};

    #[test]
    fn a_message_is_three_frames() {
        let bytes = message("topic", "key", b"body");
        let mut rest = &bytes[..];
        let kinds: Vec<u8> = (0..3).map(|_| read_frame(&mut rest).unwrap().0).collect();
        assert_eq!(kinds, [1, 2, BODY]);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_frame_without_its_end_is_refused() {
        let mut bytes = frame(1, 0, b"x");
        bytes.pop();
        bytes.push(0);
        assert!(read_frame(&mut &bytes[..]).is_err());
    }
}
