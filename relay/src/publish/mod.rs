//! What to publish next, and what became of it: a state machine without I/O.
//!
//! Rows, confirms, returns and errors go in; batches to publish, rows to park and watermarks come
//! out. [`Machine`] holds no clock, no connection and no task, so property tests drive it through
//! any order of events. The shells around it are `crate::session` and `crate::broker`.

mod admit;
mod frame_window;
mod hand_out;
mod isolation;
mod key;
mod key_retry;
mod machine;
mod outcome;
mod park;
mod patterns;
mod pending_writes;
mod retry;
mod scope;
mod settle;
mod topics;
mod unbound;
mod unresponsive;
mod wind_down;

pub use frame_window::{FrameId, Progress};
pub use key::Hold;
pub use key_retry::{KeyRequest, ParkedRow};
pub use machine::{Batch, Machine, Settings};
pub use outcome::{Disposition, Outcome, Settled};
pub use patterns::TopicPatterns;
pub use pending_writes::{Due, Park, PendingWrites, Reason, Reschedule};

pub use crate::backoff::Backoff;
use crate::capture::Position;

/// A row handed to the machine. `M` is the message's body and is never looked at.
#[derive(Debug, Clone)]
pub struct Row<M> {
    /// Position of the row.
    pub position: Position,
    /// What it is ordered by. None for a scheduled row, also once its time has come: when a frame
    /// is read again after a crash, such a row may stand in `outbox.parked` as one that holds
    /// nothing, and must not hold its key here.
    pub key: Option<std::sync::Arc<str>>,
    /// What it is about.
    pub topic: std::sync::Arc<str>,
    /// Memory that it takes, in bytes.
    pub bytes: usize,
    /// Whether it may go now.
    pub disposition: Disposition,
    /// The message.
    pub message: M,
}

#[cfg(test)]
mod tests;
