//! Configuration: every key with its default, from a file and the environment.

mod environment;
mod load;
mod ranges;
mod secret;
mod user_id;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

pub use environment::ENVIRONMENT;
pub(crate) use environment::unknown;
pub use load::ConfigError;
pub use secret::Secret;
pub use user_id::UserId;

/// Configuration of `relay run`. Unknown keys are refused.
///
/// `docs/operations.md` lists all keys with defaults and units.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Database of the outbox.
    pub database: Database,
    /// Connection to the broker, and its exchange.
    pub amqp: Amqp,
    /// Reading of the outbox.
    pub capture: Capture,
    /// Publishing and retrying.
    pub publish: Publish,
    /// Lease, which makes one relay the active one.
    pub lease: Lease,
    /// Retention and expiry of delivered messages.
    pub retention: Retention,
    /// HTTP server for health and metrics.
    pub admin: Admin,
    /// Format and filter of logs.
    pub log: Log,
}

/// Database of the outbox.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// URL, `postgres://user:password@host/database`. It must lead to the primary itself, not to a pooler.
    pub url: Option<Secret>,
    /// File that holds the URL; used if `url` is unset.
    pub url_file: Option<PathBuf>,
    /// `true` to connect to another machine although the URL does not say `sslmode=verify-full`. Default: false.
    pub allow_plaintext: bool,
}

/// Connection to the broker, and its exchange.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Amqp {
    /// URL, `amqp://user:password@host/vhost`, or `amqps`.
    pub url: Option<Secret>,
    /// File that holds the URL; used if `url` is unset.
    pub url_file: Option<PathBuf>,
    /// `true` to connect to another machine by `amqp://`, in clear. Default: false.
    pub allow_plaintext: bool,
    /// TLS, for URLs that begin with `amqps://`.
    pub tls: Tls,
    /// Topic exchange to which messages are published. Default: `postroom`.
    pub exchange: String,
    /// `true` to declare the exchange (durable, topic) on connecting. Default: true.
    pub declare_exchange: bool,
    /// Name of the service that writes the outbox; sent as `app_id` and CloudEvents `source`. Default:
    /// `postroom`.
    pub source: String,
    /// The broker's user that messages name as their publisher. Default: the URL's user.
    pub user_id: UserId,
    /// Number of channels that publish at the same time. Default: 8.
    pub channels: usize,
    /// Largest number of messages issued together on one channel. Default: 128.
    pub batch: usize,
    /// Longest wait for a confirm. After this time the message is sent again, on a new channel if other
    /// messages are confirmed meanwhile, else on a new connection. Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub confirm_timeout: Duration,
    /// Longest wait for connecting, and again for declaring. Default: 10 s.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            allow_plaintext: false,
            tls: Tls::default(),
            exchange: "postroom".to_owned(),
            declare_exchange: true,
            source: "postroom".to_owned(),
            user_id: UserId::OfUrl(true),
            channels: 8,
            batch: 128,
            confirm_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// TLS to the broker.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file of the authorities that are trusted, instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM file with the client's certificate and those of intermediate authorities.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`.
    pub key: Option<PathBuf>,
    /// Name that the server's certificate must be valid for. Default: the host of the URL.
    pub server_name: Option<String>,
}

/// Reading of the outbox.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// Shortest time from the start of one poll to the start of the next; reading the rows found counts. A
    /// poll that took longer is followed by a wait as long as the poll, at most twice this value. Default:
    /// 2 ms.
    #[serde(with = "humantime_serde")]
    pub poll_shortest: Duration,
    /// Longest wait between two polls of an idle outbox. Default: 50 ms.
    #[serde(with = "humantime_serde")]
    pub poll_longest: Duration,
    /// Largest number of rows read at once. Default: 1000.
    pub page_rows: u32,
    /// Largest number of message bytes read at once, at least 1 KiB; may be exceeded by one message.
    /// Default: 4 MiB.
    pub page_bytes: u32,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            poll_shortest: Duration::from_millis(2),
            poll_longest: Duration::from_millis(50),
            page_rows: 1_000,
            page_bytes: 4 << 20,
        }
    }
}

/// Publishing and retrying.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// Largest number of messages in memory. Default: 8192.
    pub window_rows: usize,
    /// Largest number of message bytes in memory; may be exceeded by one page. Default: 12 MiB.
    pub window_bytes: usize,
    /// Largest number of messages of one key in memory; further messages are parked behind them. Default:
    /// 256.
    pub key_rows: usize,
    /// Wait before the first retry of a parked message; doubles with each retry. Default: 1 s.
    #[serde(with = "humantime_serde")]
    pub retry_first: Duration,
    /// Longest wait between two retries. Default: 1 min.
    #[serde(with = "humantime_serde")]
    pub retry_longest: Duration,
    /// Topic patterns, with `*` and `#` as in bindings, whose unroutable messages are dropped and counted.
    /// By default none are dropped: unroutable messages are parked.
    pub drop_unroutable: Vec<String>,
    /// Shortest time between two checkpoints. Default: 50 ms.
    #[serde(with = "humantime_serde")]
    pub checkpoint_interval: Duration,
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            window_rows: 8_192,
            window_bytes: 12 << 20,
            key_rows: 256,
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_mins(1),
            drop_unroutable: Vec::new(),
            checkpoint_interval: Duration::from_millis(50),
        }
    }
}

/// Lease, which makes one relay the active one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lease {
    /// Time after which a silent relay loses its lease. Default: 10 s; at least 1 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Longest time of a graceful stop, which sends and records the messages in memory. Default:
    /// 20 s.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// Retention and expiry of delivered messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Shortest time for which delivered messages are kept. Default: 1 day.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// Age at which a segment of the ring is closed and the next one begun. Default: 3 h.
    #[serde(with = "humantime_serde")]
    pub segment_age: Duration,
    /// Number of messages at which a segment is closed before that age. Default: 20 million.
    pub segment_rows: i64,
    /// Interval between checks for segments to begin or to empty. Default: 1 min.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep: Duration::from_hours(24),
            segment_age: Duration::from_hours(3),
            segment_rows: 20_000_000,
            check_interval: Duration::from_mins(1),
        }
    }
}

/// HTTP server for health and metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address that serves `/health/live`, `/health/ready` and `/metrics`. Default: `127.0.0.1:9187`.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9187)),
        }
    }
}

/// Format and filter of logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Log format, `text` or `json`. Default: `text`.
    pub format: LogFormat,
    /// Log filter in the syntax of `tracing-subscriber`. Default: `info`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Format of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for human readers.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
