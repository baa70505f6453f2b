//! States of the connection to the broker.

use std::time::Duration;

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
