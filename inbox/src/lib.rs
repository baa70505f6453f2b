#![doc = include_str!("../README.md")]

mod broker;
mod consumer;
mod context;
mod dedup;
mod delivery;
mod engine;
mod error;
// Public for its documentation: the table of metrics.
pub mod events;
mod handler;
mod janitor;
mod keyed;
mod outcome;
mod parked;
mod parked_row;
mod policy;
mod ready;
mod reason;
mod server_error;
mod sql;
// Public for the tests only: the text of every statement.
#[doc(hidden)]
pub mod statements;
mod transaction;
mod transaction_error;

pub use broker::{BrokerError, QueueKind};
pub use consumer::{Consumer, ConsumerBuilder};
pub use context::Context;
pub use delivery::Delivery;
pub use engine::{Attempted, DeliveryService};
pub use error::{BuildError, DatabaseError, RunError};
pub use handler::{
    BatchContext, BatchHandler, Handler, HandlerError, HandlerFailure, HandlerService, Received,
};
pub use outcome::Outcome;
pub use parked::{Parked, ParkedDelivery};
pub use postroom_message::Incoming;
pub use reason::Reason;
pub use transaction::{Transaction, TransactionLayer};
pub use transaction_error::{MessageTime, TransactionError};
