#![doc = include_str!("../README.md")]
//!
//! [`relay_core`] decides, without I/O, which rows come next and what becomes of them; this crate does the I/O: `store`
//! reads and records, `broker` sends over a `transport`, `session` connects both with the decisions.

mod broker;
mod cli;
mod config;
mod error;
mod events;
mod health;
mod http;
mod message;
mod reconnect;
mod relay;
mod session;
mod standby;
#[doc(hidden)]
pub mod statements;
mod store;
#[doc(hidden)]
pub mod transport;

pub use cli::Cli;
pub use config::{
    Admin, Amqp, Capture, Config, ConfigError, Database, ENVIRONMENT, Lease, Log, LogFormat,
    Publish, Retention, Secret,
};
pub use error::RelayError;
pub use events::METRICS;
pub use health::{Health, Role};
pub use message::Message;
pub use relay_core::sequence::SequenceError;
pub use store::database::DatabaseError;
pub use transport::BrokerError;

pub use crate::relay::Relay;
