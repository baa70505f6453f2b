//! The connection to the broker, over a `crate::transport`.
//!
//! ```text
//!            ┌─────────── refused, cut, closed, confirms overdue ───────────┐
//!            ▼                                                              │
//!  Disconnected{reason, refused…} ─▶ Connecting ─▶ Ready ◀──────────▶ Blocked{reason}
//!                                          └─────▶ Unconfirmed ─▶ Ready
//! ```
//!
//! *Unconfirmed*: reconnected after confirms were overdue, with nothing confirmed since. A confirm that is
//! overdue while other messages are confirmed closes only its channel.
//!
//! [`connection`] owns the connection and runs through these states. [`publisher`] owns one channel.

pub(crate) mod connection;
mod publisher;

pub(crate) use publisher::BatchRequest;

use relay_core::{capture::Position, publish::Outcome};
use tokio::sync::mpsc;

use crate::{health::State, transport::BrokerError};

/// Report of the connection task.
#[derive(Debug)]
pub(crate) enum Event {
    /// The connection's state changed.
    State(State),
    /// Channels were opened; each takes one batch at a time.
    Channels(Vec<mpsc::Sender<BatchRequest>>),
    /// A batch was answered. Every batch is answered exactly once.
    BatchDone {
        /// The channel, as numbered by [`Event::Channels`].
        channel: usize,
        outcomes: Vec<(Position, Outcome)>,
    },
    /// The broker refuses the relay permanently.
    Refused(BrokerError),
}
