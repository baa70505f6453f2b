#![doc = include_str!("../README.md")]
//!
//! The folders of the crate are the stages of a message's way: [`capture`] finds the rows, [`publish`]
//! decides which messages are sent and handles their outcomes, `broker` sends them over a `transport`, `lease` records.

mod answer;
mod broker;
mod broker_error;
mod broker_state;
pub mod capture;
mod checkpoint;
mod config;
mod database;
mod error;
mod events;
mod frame_reader;
mod health;
mod identity;
mod lease;
mod message;
pub mod ops;
mod pg_timestamp;
pub mod publish;
mod reconnect;
mod relay;
mod row_decode;
mod sequence;
mod session;
mod sql;
mod standby;
#[doc(hidden)]
pub mod statements;
#[doc(hidden)]
pub mod transport;

/// Parts of a session, for `tests/model`. Not part of the public interface.
#[doc(hidden)]
pub mod model {
    pub use crate::{
        checkpoint::{Checkpoint, Unfinished},
        frame_reader::Opened,
        identity::Identity,
        session::Frames,
    };
}

pub use broker_error::BrokerError;
pub use config::{
    Admin, Amqp, Capture, Config, ConfigError, Database, ENVIRONMENT, Lease, Log, LogFormat,
    Publish, Retention, Secret, UserId,
};
pub use database::DatabaseError;
pub use error::RelayError;
pub use events::METRICS;
pub use health::{Health, Role};
pub use message::Message;
pub use sequence::SequenceError;

pub use crate::relay::Relay;
