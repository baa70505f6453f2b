//! Everything that talks to RabbitMQ: the queue with its bindings, its deliveries and their acknowledgements.

mod acknowledging;
mod acks;
mod answer;
mod bindings;
mod connect;
mod exchange;
mod job;
mod refusal;
mod session;
mod stream;
mod topology;
mod workers;

pub use refusal::BrokerError;
pub(crate) use stream::Stream;
pub use topology::QueueKind;
pub(crate) use topology::{DELIVERY_LIMIT, Topology};
pub(crate) use workers::ABORT;

/// Longest wait for the broker to confirm the close of a connection.
const CLOSE: std::time::Duration = std::time::Duration::from_secs(5);
