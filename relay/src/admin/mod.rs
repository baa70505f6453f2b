//! Administration of an outbox: queries that return plain data.
//!
//! A query takes a connection and typed parameters. It prints nothing and knows no command line; `crate::cli` renders
//! its data, as text or as JSON.

pub(crate) mod check;
pub(crate) mod migrate;
pub(crate) mod parked;
pub(crate) mod rebase;
pub(crate) mod status;

use std::time::Duration;

/// Longest wait for an answer of the database. Must exceed the lock timeout of 10 seconds
/// ([`Purpose::Command`](crate::store::Purpose::Command)), whose error says more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);
