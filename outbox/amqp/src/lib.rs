//! AMQP 0-9-1 for relay and inbox: how a message is written there, and connections to a RabbitMQ broker.
//!
//! The AMQP client (lapin) parses whatever the broker sends, and anybody who may publish decides what
//! that is: a header nested thousands of levels deep overflows the stack of its parser, and a short
//! string that is not UTF-8 ends the connection each time it is delivered. This crate gives the client
//! a stream of its own, in which [`frames`] replaces what the client cannot read before the client
//! sees it, and says so in the header [`UNREADABLE`]. Such a message is delivered like any other, and
//! stops nobody but itself.
//!
//! No part of Postroom's public interface.

mod address;
mod connect;
pub mod frames;
mod mapping;
mod refusal;
mod runtime;
mod server;
mod stream;
mod tls;

pub use address::Address;
pub use connect::{Connected, connect};
pub use frames::UNREADABLE;
pub use mapping::{Outgoing, Published, Uncarriable, decode, encode};
pub use refusal::Refusal;
pub use server::DeliveryLimit;
