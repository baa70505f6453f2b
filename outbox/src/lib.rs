#![doc = include_str!("../README.md")]

pub mod context;
pub mod database;
#[cfg(feature = "derive")]
pub mod derive;
mod error;
mod event;
mod into_message;
mod message;
pub mod pool;
mod publish;
mod request;
mod row;
pub mod schema;
mod sql;
pub mod statements;
mod stored;
mod token;
#[cfg(feature = "opentelemetry")]
mod trace;
pub mod transaction;

pub use context::MessageContext;
pub use error::PublishError;
pub use event::{Event, EventType, assert_valid_event};
pub use into_message::IntoMessage;
pub use message::Message;
pub use postroom_message::{
    HeaderValue, Headers, InvalidName, Key, MessageId, Topic, TypeName, limits, recipient,
};
pub use publish::Outbox;
pub use request::{ReplyTo, Request};
pub use token::{ConsistencyToken, TokenError};

#[cfg(feature = "derive")]
#[doc = include_str!("derive.md")]
pub use outbox_derive::Event;
