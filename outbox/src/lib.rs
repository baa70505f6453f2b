#![doc = include_str!("../README.md")]

pub mod context;
mod error;
mod event;
mod header_value;
mod headers;
pub mod limits;
#[doc(hidden)]
pub mod link;
mod message;
mod message_id;
mod name;
pub mod pool;
mod publish;
mod row;
pub mod schema;
mod sql;
#[doc(hidden)]
pub mod statements;
mod stored;
pub mod transaction;
#[cfg(feature = "amqp")]
pub mod wire;

pub use context::MessageContext;
pub use error::PublishError;
pub use event::Event;
pub use header_value::HeaderValue;
pub use headers::Headers;
pub use message::{IntoMessage, Message};
pub use message_id::MessageId;
pub use name::{InvalidName, Key, Topic, TypeName};
pub use publish::Outbox;
#[doc(hidden)]
pub use stored::jsonb;
