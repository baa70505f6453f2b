//! The decisions of Postroom's relay, without I/O and without a clock.
//!
//! - [`capture`] decides which rows are new since the last snapshot.
//! - [`publish`] decides which messages are sent, wait for their key, or are parked.
//! - [`session`] combines both: events of the relay's tasks go in, commands come out.
//! - [`checkpoint`], [`identity`] and [`sequence`] compare the record of an earlier session with the server.
//!
//! The crate `relay` does the I/O. The model (`tests/model`) and the simulations of [`session`] run the same decisions
//! against a simulated database and broker.

pub mod capture;
pub mod checkpoint;
pub mod identity;
pub mod publish;
pub mod sequence;
pub mod session;
