//! Bugs of client libraries that the code stays clear of. When one of these fails, the bug is
//! fixed, and what stays clear of it can be made simpler.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod lapin_blocked;
mod lapin_close;
mod lapin_confirms;
mod lapin_returns;
mod lapin_strings;
mod rabbitmq_returns;
mod sqlx_begin;
mod sqlx_copy;
mod sqlx_silent;
mod tower_clone;
