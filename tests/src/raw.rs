//! A publisher that sends whatever it is told to, below any client library.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xCE;

/// Flag of the property `headers` in a content header (AMQP 0-9-1, section 1.8.2).
pub const HEADERS: u16 = 1 << 13;
/// Flag of the property `message_id`.
pub const MESSAGE_ID: u16 = 1 << 7;
/// Flag of the property `type`.
pub const TYPE: u16 = 1 << 5;
/// Flag of the property `app_id`.
pub const APP_ID: u16 = 1 << 3;

/// A confirmed channel to a broker, over a socket.
#[derive(Debug)]
pub struct RawPublisher(TcpStream);

impl RawPublisher {
    /// Logs in at the virtual host of a URL.
    pub async fn connect(url: &str) -> Self {
        let url: Url = url.parse().unwrap();
        let host = url.host_str().unwrap();
        let socket = TcpStream::connect((host, url.port().unwrap_or(5672)));
        let mut publisher = Self(socket.await.unwrap());
        publisher
            .0
            .write_all(b"AMQP\x00\x00\x09\x01")
            .await
            .unwrap();
        publisher.answer([10, 10]).await;
        let login = format!("\0{}\0{}", url.username(), url.password().unwrap());
        let start_ok = [
            &[0; 4],
            &*short_string(b"PLAIN"),
            &(login.len() as u32).to_be_bytes(),
            login.as_bytes(),
            &short_string(b"en_US"),
        ];
        publisher.method(0, [10, 11], &start_ok.concat()).await;
        let mut tune = publisher.answer([10, 30]).await;
        // No heartbeats.
        tune[6..8].fill(0);
        publisher.method(0, [10, 31], &tune[..8]).await;
        let vhost = short_string(&url.path().as_bytes()[1..]);
        publisher
            .method(0, [10, 40], &[&*vhost, &[0, 0]].concat())
            .await;
        publisher.answer([10, 41]).await;
        publisher.method(1, [20, 10], &[0]).await;
        publisher.answer([20, 11]).await;
        publisher.method(1, [85, 10], &[0]).await;
        publisher.answer([85, 11]).await;
        publisher
    }

    /// Publishes to an exchange, and waits for the confirm. `properties` are those of `flags`, encoded.
    pub async fn publish(
        &mut self,
        (exchange, routing_key): (&str, &[u8]),
        (flags, properties): (u16, &[u8]),
        body: &[u8],
    ) {
        let route = [short_string(exchange.as_bytes()), short_string(routing_key)].concat();
        self.method(1, [60, 40], &[&[0, 0], &*route, &[0]].concat())
            .await;
        let length = (body.len() as u64).to_be_bytes();
        let header = [
            &[0, 60, 0, 0],
            &length[..],
            &flags.to_be_bytes(),
            properties,
        ]
        .concat();
        self.frame(CONTENT_HEADER, 1, &header).await;
        if !body.is_empty() {
            self.frame(BODY, 1, body).await;
        }
        self.answer([60, 80]).await;
    }

    async fn method(&mut self, channel: u16, [class, method]: [u16; 2], arguments: &[u8]) {
        let name = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.frame(METHOD, channel, &[&name, arguments].concat())
            .await;
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        let channel = channel.to_be_bytes();
        let frame = [&[kind], &channel[..], &length, payload, &[FRAME_END]].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    /// Waits for a method; returns its arguments.
    async fn answer(&mut self, [class, method]: [u16; 2]) -> Vec<u8> {
        loop {
            let mut header = [0; 7];
            self.0.read_exact(&mut header).await.unwrap();
            let [kind, _, _, size @ ..] = header;
            let mut payload = vec![0; u32::from_be_bytes(size) as usize + 1];
            self.0.read_exact(&mut payload).await.unwrap();
            payload.pop();
            if kind == HEARTBEAT {
                continue;
            }
            let name = [class.to_be_bytes(), method.to_be_bytes()].concat();
            assert!(
                payload.starts_with(&name),
                "the broker answered {:?}",
                String::from_utf8_lossy(&payload)
            );
            return payload.split_off(name.len());
        }
    }
}

/// Encodes a short string of any bytes.
pub fn short_string(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

/// Encodes a value with a length of 32 bits: a long string (`S`), an array (`A`), a table (`F`).
pub fn long_value(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], &(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// Encodes arrays (`A`) or tables (`F`) within one another.
pub fn nested(kind: u8, levels: usize) -> Vec<u8> {
    let name: &[u8] = if kind == b'F' { &[1, b'x'] } else { &[] };
    let overhead = 5 + name.len();
    let mut value = Vec::with_capacity(levels * overhead);
    for level in (0..levels).rev() {
        value.push(kind);
        value.extend_from_slice(&((level * overhead) as u32).to_be_bytes());
        if level > 0 {
            value.extend_from_slice(name);
        }
    }
    value
}

/// Encodes the property `headers`.
pub fn table(fields: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let fields = fields.iter();
    let fields: Vec<u8> = fields
        .flat_map(|(name, value)| [short_string(name), value.clone()].concat())
        .collect();
    long_value(b'F', &fields)[1..].to_vec()
}
