//! The test kit for services: handlers without a broker, proofs of idempotence, queues with faults, and kept bodies.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bodies;
mod handle;
mod idempotent;
mod queue;
mod rehearse;
mod world;
