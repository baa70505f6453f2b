//! Publishing state machine: decides which messages are sent next, and what follows from their
//! outcomes.
//!
//! Rows, confirms, returns and errors go in; batches to publish, rows to park and watermarks go
//! out. [`Machine`] has no clock, no connection and no task. The crate `relay` does the I/O around it,
//! and the property tests of [`crate::session`] drive it through any order of events.

mod drops;
mod entry;
mod frame_window;
mod keys;
mod machine;
mod outcome;
mod parking;
mod pending_writes;
mod sending;
mod unbound;
mod window;

pub use frame_window::{FrameId, Progress};
pub use keys::{Hold, KeyRequest, ParkedRow};
pub use machine::{Machine, Settings};
pub use outcome::{Disposition, Outcome, Settled};
pub use pending_writes::{DropReason, Dropped, Due, Park, PendingWrites, Reason, Reschedule};
pub use sending::Batch;

use crate::capture::Position;
pub use postroom_message::{Backoff, TopicPatterns};

/// An outbox row in the machine. `M` is the message, which the machine never reads.
#[derive(Debug, Clone)]
pub struct Row<M> {
    /// Position in the outbox.
    pub position: Position,
    /// Ordering key; `None` if unordered. Scheduled rows have none, even after their time has come:
    /// when a frame is read again after a crash, such a row may stand in `outbox.parked` as one
    /// that holds nothing, and must not hold its key here.
    pub key: Option<std::sync::Arc<str>>,
    /// Topic of the message.
    pub topic: std::sync::Arc<str>,
    /// Memory used by the row, in bytes.
    pub bytes: usize,
    /// Decision to send, hold back or drop the row now.
    pub disposition: Disposition,
    /// The message.
    pub message: M,
}

#[cfg(test)]
mod tests;
