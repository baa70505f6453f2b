//! Texts and formats that users see, compared with the golden files under `tests/frozen`.
//!
//! `make bless` writes the golden files anew. Log lines of single events are compared beside the events
//! (`relay/src/events`, `inbox/src/events`), the public API of the crates by `scripts/public-api`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fence;
mod help;
mod json;
mod log;
mod metrics;
mod printed;
mod schema;
mod servers;
mod settings;
mod shape;
mod understood;
mod wire;
