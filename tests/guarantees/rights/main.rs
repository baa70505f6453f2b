//! The rights at the broker that docs/operations.md tells to grant: enough to work with, and no more.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attempts;
mod commands;
mod consumer;
mod documented;
mod fence;
mod forgery;
mod partitions;
mod table;
mod user_id;
