//! No function or operator that another user has put on a session's `search_path` runs in Postroom's statements, with
//! whatever rights: the relay's, a service's, or those of the user who migrates.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod check;
mod end_to_end;
mod hostile;
mod migrate;
mod service;
mod session_path;
mod statements;
mod takeovers;
