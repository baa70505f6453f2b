//! Everything that talks to RabbitMQ: the queue with its bindings, its deliveries and their acknowledgements.

mod acknowledging;
mod acks;
mod answer;
mod bindings;
mod closing;
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
