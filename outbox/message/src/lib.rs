//! The parts of a Postroom message and the addresses of servers, without I/O, for outbox, inbox and relay.
//!
//! Services use these types through `outbox` and `inbox`, which export them.

pub mod address;
mod backoff;
pub mod errors;
mod header_value;
mod headers;
mod incoming;
mod jsonb;
pub mod limits;
mod message_id;
mod name;
pub mod recipient;
mod slot;
mod topic_patterns;

pub use backoff::Backoff;
pub use header_value::{Decimal, HeaderValue};
pub use headers::{Headers, InvalidHeader, reserved};
pub use incoming::Incoming;
pub use jsonb::jsonb;
pub use message_id::MessageId;
pub use name::{InvalidName, Key, Topic, TypeName};
pub use slot::Slot;
pub use topic_patterns::TopicPatterns;
