//! A queue of RabbitMQ as the source of deliveries: its topology, deliveries and acknowledgements.

mod acknowledging;
mod acks;
mod answer;
mod bindings;
mod exchange;
mod refusal;
mod source;
mod subscription;
mod topology;

pub use refusal::BrokerError;
pub(crate) use source::RabbitMq;
pub use topology::QueueKind;
pub(crate) use topology::{DELIVERY_LIMIT, Topology};
