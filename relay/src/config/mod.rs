//! Configuration: every key with its default, from a file and the environment.

mod environment;
mod load;
mod ranges;
mod secret;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

pub use environment::ENVIRONMENT;
pub(crate) use environment::unknown;
pub use load::ConfigError;
pub use secret::Secret;

/// Everything that `relay run` can be told. Unknown keys are refused.
///
/// `docs/operations.md` lists all keys with defaults and units.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The outbox's database.
    pub database: Database,
    /// The broker.
    pub amqp: Amqp,
    /// Reading the outbox.
    pub capture: Capture,
    /// Publishing and trying again.
    pub publish: Publish,
    /// Being the one active relay.
    pub lease: Lease,
    /// Keeping delivered messages, and letting them go.
    pub retention: Retention,
    /// Health and metrics.
    pub admin: Admin,
    /// Logs.
    pub log: Log,
}

/// The outbox's database.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://user:password@host/database`. Must reach the primary itself, not a pooler.
    pub url: Option<Secret>,
    /// File that holds the URL, instead of `url`.
    pub url_file: Option<PathBuf>,
}

/// The broker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Amqp {
    /// `amqp://user:password@host/vhost`, or `amqps`.
    pub url: Option<Secret>,
    /// File that holds the URL, instead of `url`.
    pub url_file: Option<PathBuf>,
    /// Topic exchange that messages go to. Default: `postroom`.
    pub exchange: String,
    /// Whether to declare the exchange (durable, topic) on connecting. Default: true.
    pub declare_exchange: bool,
    /// Name of the service that writes the outbox: `app_id` and CloudEvents `source`. Default: `postroom`.
    pub source: String,
    /// Channels that publish at the same time. Default: 8.
    pub channels: usize,
    /// Messages issued together on one channel. Default: 128.
    pub batch: usize,
    /// A confirm later than this does not count: the message is sent again, on a new channel if others
    /// are confirmed meanwhile, else on a new connection. Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub confirm_timeout: Duration,
    /// Longest wait for connecting, and then for declaring. Default: 10 s.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            exchange: "postroom".to_owned(),
            declare_exchange: true,
            source: "postroom".to_owned(),
            channels: 8,
            batch: 128,
            confirm_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Reading the outbox.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// Shortest time from one look to the next; reading what was found counts. A look that took longer
    /// is followed by a wait as long, at most twice this. Default: 2 ms.
    #[serde(with = "humantime_serde")]
    pub poll_shortest: Duration,
    /// Longest wait between two looks, when there is nothing to do. Default: 50 ms.
    #[serde(with = "humantime_serde")]
    pub poll_longest: Duration,
    /// Rows read at once. Default: 1000.
    pub page_rows: u32,
    /// Bytes of messages read at once, at least 1 KiB; one message more may be. Default: 4 MiB.
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

/// Publishing and trying again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// Most messages in memory. Default: 8192.
    pub window_rows: usize,
    /// Most bytes of messages in memory; one page more may be. Default: 12 MiB.
    pub window_bytes: usize,
    /// Most messages of one key in memory; what comes above is parked behind them. Default: 256.
    pub key_rows: usize,
    /// Wait before a parked message is tried again the first time; doubles. Default: 1 s.
    #[serde(with = "humantime_serde")]
    pub retry_first: Duration,
    /// Longest wait between two tries. Default: 1 min.
    #[serde(with = "humantime_serde")]
    pub retry_longest: Duration,
    /// Topics, with `*` and `#` as in bindings, whose messages are dropped, and counted, when no
    /// queue is bound to them. Default: none, they are parked.
    pub drop_unroutable: Vec<String>,
    /// Least time between two checkpoints. Default: 50 ms.
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

/// Being the one active relay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lease {
    /// A relay that was not heard of for this long has lost its lease. Default: 10 s; at least 1 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long to go on confirming what is in flight when asked to stop. Default: 20 s.
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

/// Keeping delivered messages, and letting them go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// How long delivered messages are kept at least. Default: 1 day.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// A segment of the ring is left for the next one at this age. Default: 3 h.
    #[serde(with = "humantime_serde")]
    pub segment_age: Duration,
    /// Or at this number of messages. Default: 20 million.
    pub segment_rows: i64,
    /// How often to look. Default: 1 min.
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

/// Health and metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address of `/health/live`, `/health/ready` and `/metrics`. Default: `127.0.0.1:9187`.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9187)),
        }
    }
}

/// Logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`. Default: `text`.
    pub format: LogFormat,
    /// Filter in the syntax of `tracing-subscriber`. Default: `info`.
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

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
