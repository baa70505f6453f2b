//! The transaction that makes a handler's effect happen once.
//!
//! A transaction records the message's id, calls the handler, and commits. A duplicate finds the record and
//! is not handled again; a failure rolls the record back with everything else. A delivery has a transaction
//! of its own ([`alone`]) or shares one ([`shared`]). [`Transaction`] is the same thing in the form of a
//! tower middleware.

mod alone;
mod call;
mod commit;
mod connection;
mod durability;
mod fault;
mod keys;
mod layer;
mod order;
mod park;
mod record;
mod rehearsal;
mod service;
mod settings;
mod shared;
mod untrusted;

pub(crate) use alone::run as run_alone;
pub(crate) use call::panic_text;
pub(crate) use connection::WorkerConnection;
pub(crate) use fault::reply as reply_with_fault;
pub use layer::TransactionLayer;
pub(crate) use park::park;
pub use service::Transaction;
pub(crate) use settings::{Settings, with_answer_timeout, with_timeout};
#[cfg(test)]
pub(crate) use shared::batch_span;
pub(crate) use shared::{Shared, Sharing, dedup_entry, run as run_shared};
pub(crate) use untrusted::{Kept, admit, keep_untrusted};
