#![doc = include_str!("../README.md")]

mod consumer;
mod context;
mod dedup;
mod delivery;
mod delivery_span;
mod engine;
mod error;
mod fault;
mod intake;
// Public for its documentation: the table of metrics.
mod decision;
pub mod events;
mod handler;
mod idempotency;
mod janitor;
mod layout;
mod outcome;
mod parked;
mod parked_row;
mod partitions;
mod polling;
mod ready;
mod reason;
mod replies;
mod server_error;
mod sql;
pub mod statements;
mod status;
mod transaction;
mod transaction_error;
mod transaction_guard;
mod waiter;

pub use amqp::{Tls, TlsError};
pub use consumer::{Consumer, ConsumerBuilder};
pub use context::{Context, ReplyError};
pub use delivery::Delivery;
pub use engine::{AttemptError, Attempted, DeliveryService};
pub use error::{BuildError, DatabaseError, RunError};
pub use fault::Fault;
pub use handler::{
    BatchContext, BatchHandler, Fate, Handler, HandlerError, HandlerFailure, HandlerFuture,
    HandlerService, HasFate, Received, extract,
};
pub use idempotency::Remember;
pub use intake::{BrokerError, QueueKind, source};
pub use outcome::Outcome;
pub use parked::{Parked, ParkedDelivery};
pub use postroom_message::Incoming;
pub use reason::Reason;
pub use replies::{NoReply, Replies, Reply};
#[cfg(feature = "axum")]
pub use status::health_router;
pub use status::{ConsumerState, ConsumerStatus, StatusReport};
pub use transaction::{Transaction, TransactionLayer};
pub use transaction_error::{MessageTime, TransactionError};
pub use waiter::{NotHandled, WaitError, Waiter};
