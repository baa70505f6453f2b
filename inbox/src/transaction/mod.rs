//! The tower middleware that makes a handler's effect happen once.
//!
//! [`Transaction`] begins a database transaction, records the message's id, calls the inner service with
//! the transaction, and commits. A duplicate finds the record and is not handled again; a failure rolls
//! the record back with everything else.

mod arrival_rate;
mod commit;
mod durability;
mod layer;
mod prefetched;
mod record;
mod service;
mod settings;
mod work;

pub(crate) use commit::{check, commit};
pub use layer::TransactionLayer;
pub use service::Transaction;
pub(crate) use settings::{Settings, within, within_time};
pub(crate) use work::{panic_text, work};
