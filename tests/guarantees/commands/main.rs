//! Commands, requests and replies, through a real relay and real brokers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fault;
mod recipients;
mod reply;
mod world;
