//! The way of deliveries from their source to the workers, and of their settlements back.

mod job;
mod keyed;
mod rabbitmq;
mod session;
pub mod source;
mod stream;
mod workers;

pub use rabbitmq::{BrokerError, QueueKind};
pub(crate) use rabbitmq::{
    DELIVERY_LIMIT, Layouts, Markers, PartitionQueue, RabbitMq, Subscribed, Topology, longest_name,
};
pub(crate) use stream::{Intake, Stream};
pub(crate) use workers::ABORT;
