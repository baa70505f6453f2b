//! The broker's side: a queue with its bindings, and the deliveries that come from it.

mod acknowledging;
mod acks;
mod address;
mod answer;
mod bindings;
mod closing;
mod connect;
mod job;
mod refusal;
mod server;
mod session;
mod stream;
mod topology;
mod workers;

pub(crate) use address::Address;
pub use refusal::BrokerError;
pub(crate) use stream::Stream;
pub use topology::QueueKind;
pub(crate) use topology::{DELIVERY_LIMIT, Topology};
pub(crate) use workers::ABORT;
