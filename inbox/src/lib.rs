#![doc = include_str!("../README.md")]

mod broker;
mod builder;
mod consumer;
mod context;
mod dedup;
mod delivery;
mod engine;
mod error;
pub mod events;
mod group;
mod handler;
mod janitor;
mod keyed;
mod outcome;
mod parked;
mod policy;
mod ready;
mod reason;
mod sql;
#[doc(hidden)]
pub mod statements;
mod transaction;
mod witness;

pub use broker::{BrokerError, QueueKind};
pub use builder::ConsumerBuilder;
pub use consumer::Consumer;
pub use context::Context;
pub use delivery::Delivery;
pub use engine::DeliveryService;
pub use error::{BuildError, DatabaseError, RunError};
pub use handler::{BatchContext, BatchHandler, Handler, HandlerError, Received};
pub use outcome::Outcome;
pub use parked::{Parked, ParkedDelivery};
pub use postroom_message::Incoming;
pub use reason::Reason;
pub use transaction::{HandlerFailure, Transaction, TransactionError, TransactionLayer};
