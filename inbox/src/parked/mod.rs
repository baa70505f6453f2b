//! Parked deliveries, which could not be handled: parking, retrying, and the API for operators.

mod api;
mod park;
mod worker;

pub use api::{Parked, ParkedDelivery};
pub(crate) use park::park;
pub(crate) use worker::Worker;
