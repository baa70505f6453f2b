//! The static statements of library and relay, against a real schema and an unprivileged role.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod plans;
mod prepared;
mod sequence;
mod unprepared;
