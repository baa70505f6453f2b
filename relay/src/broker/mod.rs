//! The connection to RabbitMQ.
//!
//! ```text
//!            ┌─────────── refused, cut, closed, confirms overdue ───────────┐
//!            ▼                                                              │
//!  Disconnected{reason, retry_in} ─▶ Connecting ─▶ Ready ◀──────────▶ Blocked{reason}
//!                                          └─────▶ Unconfirmed ─▶ Ready
//! ```
//!
//! *Unconfirmed*: connected again after confirms were overdue, and nothing has been confirmed since. A
//! confirm that is overdue while others come ends its channel only.
//!
//! [`link`] owns the connection and walks through these states, [`open`] makes it with what [`requests`]
//! asks for, and takes the [`fence`]; [`publisher`] owns one channel.
//! lapin's own recovery stays off: after a loss nothing is known of what was in flight, and only
//! the state machine in `crate::publish` may decide what is sent again.

mod batch;
mod channel;
pub(crate) mod connection;
mod error;
mod fence;
pub(crate) mod open;
mod publisher;
pub(crate) mod requests;

use std::time::Duration;

pub use error::BrokerError;
pub(crate) use publisher::{BatchRequest, BatchResult};

use tokio::sync::mpsc;

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none; the next attempt follows after a while.
    Disconnected {
        /// Why.
        reason: String,
        /// Wait until the next attempt.
        retry_in: Duration,
    },
    /// It is being made.
    Connecting,
    /// Messages can be published.
    Ready,
    /// Messages are sent, but the broker left confirms overdue and has confirmed nothing since: a
    /// quorum queue without a majority does so.
    Unconfirmed,
    /// The broker takes no messages for now: it is short of memory or disk.
    Blocked {
        /// The broker's words.
        reason: String,
    },
}

/// What the link reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its state changed.
    State(State),
    /// Channels are open: each takes one order at a time.
    Channels(Vec<mpsc::Sender<BatchRequest>>),
    /// An order came back. Every order does, exactly once.
    BatchDone(BatchResult),
    /// The broker refuses for good.
    Refused(BrokerError),
}
