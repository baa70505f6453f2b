//! Queues of RabbitMQ as sources of deliveries: their topology, layouts, deliveries and acknowledgements.

mod acknowledging;
mod acks;
mod answer;
mod bindings;
mod exchange;
mod layouts;
mod markers;
mod partition;
mod refusal;
mod source;
mod subscription;
mod topology;

pub(crate) use layouts::{Layouts, longest_name};
pub(crate) use markers::Markers;
pub(crate) use partition::{PartitionQueue, Subscribed};
pub use refusal::BrokerError;
pub(crate) use source::RabbitMq;
pub use topology::QueueKind;
pub(crate) use topology::{DELIVERY_LIMIT, Topology};
