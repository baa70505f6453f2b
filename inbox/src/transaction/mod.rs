//! The middleware that makes a handler's effect happen once.
//!
//! [`Transaction`] begins a transaction, records the message's id, calls the service inside with
//! the transaction, and commits. A duplicate finds its record and is not handled again; a failure
//! rolls the record back with everything else.

mod begun;
mod durability;
mod enter;
mod error;
mod layer;
mod leave;
mod pace;
mod service;
mod settings;
mod work;

pub(crate) use enter::Session;
pub(crate) use error::Meant;
pub use error::{HandlerFailure, TransactionError};
pub use layer::TransactionLayer;
pub(crate) use leave::{check, commit};
pub use service::Transaction;
pub(crate) use settings::{Settings, within, within_time};
pub(crate) use work::{Lent, panic_text, work};
