//! Parked deliveries, which could not be handled: parking, retrying, and the API for operators.

mod api;
mod park;
mod remove;
mod row;
mod worker;

pub use api::{Parked, ParkedDelivery};
pub(crate) use park::{insert, park};
pub(crate) use remove::remove;
pub(crate) use worker::Worker;
