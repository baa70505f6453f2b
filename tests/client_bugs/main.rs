//! Bugs of client libraries and of RabbitMQ that Postroom stays clear of. No code of Postroom runs here. When a test
//! fails, the bug is fixed, and what stays clear of it can be made simpler.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod lapin_blocked;
mod lapin_close;
mod lapin_confirms;
mod lapin_returns;
mod lapin_strings;
mod rabbitmq_returns;
mod sqlx_copy;
mod tower_clone;
