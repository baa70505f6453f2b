//! The record of dropped messages, and the proof that everything has settled, which needs the record.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chain;
mod cost;
mod dropped;
mod handling;
mod ids;
mod published;
mod scheduled;
mod stuck;
mod world;
