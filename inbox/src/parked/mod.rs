//! Parked deliveries, which could not be handled: retrying, and the API for operators.

mod api;
mod wake;
mod worker;

pub use api::{Parked, ParkedDelivery};
pub(crate) use worker::Worker;
