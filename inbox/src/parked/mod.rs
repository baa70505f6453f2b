//! Deliveries that could not be handled: parking them, trying them again, and looking at them.

mod api;
mod park;
mod remove;
mod row;
mod worker;

pub use api::{Parked, ParkedDelivery};
pub(crate) use park::{insert, park};
pub(crate) use remove::remove;
pub(crate) use worker::Worker;
