//! Behaviour that the relay expects of every message broker: one suite, which each adapter passes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
mod suite;
mod close;
mod memory;
mod rabbitmq;
mod relay;
