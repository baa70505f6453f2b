//! AMQP 0-9-1 for relay and inbox: the mapping of messages to AMQP, and connections to a RabbitMQ broker, with their
//! channels, batches and subscriptions. No other crate of the product names the AMQP client.
//!
//! The AMQP client (lapin) parses all that the broker delivers, and any publisher chooses the content: a header nested
//! thousands of levels deep overflows the stack of the client's parser, and a short string that is not UTF-8 ends the
//! connection each time the message is delivered. This crate gives the client a stream in which [`frames`] removes
//! unreadable parts before the client sees them, and lists them in the header [`UNREADABLE`]. Such a message is
//! delivered like any other, and blocks no other message.
//!
//! Not part of Postroom's public interface.

mod address;
mod channel;
mod confirms;
mod connection;
mod deliveries;
mod error;
mod events;
mod exchanges;
pub mod frames;
mod mapping;
mod refusal;
mod runtime;
mod server;
mod stream;
mod tls;

pub use address::Address;
pub use channel::{Arguments, Channel, Queue};
pub use confirms::{Answer, Batch, BatchError, ConfirmChannel};
pub use connection::Connection;
pub use deliveries::{Delivered, Deliveries};
pub use error::Error;
pub use events::{Event, Events};
pub use exchanges::QueueCounts;
pub use frames::UNREADABLE;
pub use mapping::{Outgoing, Published, SLOT, Uncarriable, decode, encode, marker_token, read};
pub use postroom_message::address::{Host, InvalidHost, InvalidUrl};
pub use refusal::Refusal;
pub use server::DeliveryLimit;
pub use tls::{Tls, TlsError, explain};

/// Prefixes of the log lines that the AMQP client writes: every returned message with its body, and every lost
/// connection.
pub const LOG_TARGETS: [&str; 2] = ["lapin", "async_rs"];
