//! Nothing that others have put on a session's `search_path` runs in our statements: neither as the relay, nor as a
//! service, nor as who migrates.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod check;
mod hostile;
mod migrate;
mod proof;
mod service;
mod statements;
mod thefts;
mod way;
