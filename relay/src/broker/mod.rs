//! The connection to RabbitMQ.
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
//! [`connection`] owns the connection and runs through these states. [`open`] opens it with the requests of
//! [`requests`] and takes the [`fence`]. [`publisher`] owns one channel. lapin's own recovery stays off:
//! after a loss the outcome of everything in flight is unknown, and only the state machine in
//! `crate::publish` may decide which messages are sent again.

mod batch;
mod channel;
pub(crate) mod connection;
mod error;
pub(crate) mod fence;
pub(crate) mod open;
mod publisher;
pub(crate) mod requests;

use std::time::Duration;

pub use error::BrokerError;
pub(crate) use publisher::{BatchRequest, BatchResult};

use tokio::sync::mpsc;

/// State of the connection to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not connected; the next attempt follows after `retry_in`.
    Disconnected {
        /// Reason of the loss.
        reason: String,
        /// `true` if the broker refuses until somebody changes something.
        refused: bool,
        /// Wait until the next attempt.
        retry_in: Duration,
    },
    /// The connection is being opened.
    Connecting,
    /// Messages can be published.
    Ready,
    /// Messages are sent, but the broker has left confirms overdue and has confirmed nothing since, as a
    /// quorum queue without a majority does.
    Unconfirmed,
    /// The broker accepts no messages for now, because it is short of memory or disk.
    Blocked {
        /// Reason given by the broker.
        reason: String,
    },
}

/// Report of the connection task.
#[derive(Debug)]
pub(crate) enum Event {
    /// The connection's state changed.
    State(State),
    /// Channels were opened; each takes one batch at a time.
    Channels(Vec<mpsc::Sender<BatchRequest>>),
    /// A batch was answered. Every batch is answered exactly once.
    BatchDone(BatchResult),
    /// The broker refuses the relay permanently.
    Refused(BrokerError),
}
