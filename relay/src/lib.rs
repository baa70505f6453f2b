#![doc = include_str!("../README.md")]
//!
//! [`relay_core`] decides, without I/O, which rows come next and what becomes of them; this crate does the I/O: `store`
//! reads and records, `broker` sends over a `transport`, `session` connects both with the decisions.

mod admin;
mod broker;
mod cli;
mod config;
mod error;
mod events;
mod health;
mod http;
mod reconnect;
mod relay;
mod session;
mod standby;
pub mod statements;
mod store;
pub mod transport;

pub use cli::Cli;
pub use config::{
    Admin, Amqp, Capture, Config, ConfigError, Database, ENVIRONMENT, Lease, Log, LogFormat,
    Publish, Retention, Secret, UserId,
};
pub use error::RelayError;
pub use events::METRICS;
pub use health::{Health, Role};
pub use relay_core::sequence::SequenceError;
pub use store::DatabaseError;
pub use transport::BrokerError;

pub use crate::relay::Relay;
