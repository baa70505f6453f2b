//! Deliveries that could not be handled: parking them, trying them again, and looking at them.

mod api;
mod leave;
mod park;
mod row;
mod worker;

pub use api::{Parked, ParkedDelivery};
pub(crate) use leave::let_go;
pub(crate) use park::{insert, park};
pub(crate) use worker::Worker;
