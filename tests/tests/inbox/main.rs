//! The inbox against a real PostgreSQL and a real RabbitMQ.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ahead;
mod around;
mod bound;
mod broker;
mod busy;
mod durable;
mod effect;
mod ended;
mod many;
mod odd;
mod order;
mod others;
mod outage;
mod parking;
mod pooler;
mod races;
mod ready;
mod releases;
mod start;
mod stopping;
mod together;
mod untaken;
mod upkeep;
mod world;
