//! State of the engine, besides the machine.

use tokio::{sync::mpsc, time::Instant};

use crate::{broker::BatchRequest, capture::Position, publish::Progress};

/// Permission to take rows from the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Granted: visible rows are durable.
    Open,
    /// Refused until a commit is recorded, which is still to be requested.
    Wanted,
    /// Refused until the requested commit is recorded.
    Requested,
}

/// State of the poll for parked rows that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PollState {
    /// The time of the next poll has not come.
    NotDue,
    /// The poll waits until there is room.
    Due,
    /// The poll is in progress.
    InProgress,
}

/// State of the broker's channels and of the work in progress.
#[derive(Debug)]
pub(super) struct SessionState {
    /// Channels of the broker's connection that wait for a batch, as indexes into `channels`.
    pub(super) idle: Vec<usize>,
    pub(super) channels: Vec<mpsc::Sender<BatchRequest>>,
    /// `true` while the broker takes no messages.
    pub(super) blocked: bool,
    pub(super) gate: Gate,
    /// Position to pair with the transaction of the record in progress; `None` if there is none.
    pub(super) recording: Option<Position>,
    /// Progress in the last record.
    pub(super) recorded: Option<Progress>,
    /// Earliest time of the next record.
    pub(super) record_after: Instant,
    /// `true` if the last record left out rows that another transaction had locked.
    pub(super) locked: bool,
    /// `true` if there is something to record.
    pub(super) record_wanted: bool,
    pub(super) poll_state: PollState,
    /// Number of keys whose parked rows are being read.
    pub(super) reading_keys: usize,
    /// Deadline of the graceful stop, once it has begun.
    pub(super) stopping: Option<Instant>,
}

impl SessionState {
    pub(super) fn new() -> Self {
        Self {
            idle: Vec::new(),
            channels: Vec::new(),
            blocked: false,
            gate: Gate::Open,
            recording: None,
            recorded: None,
            record_after: Instant::now(),
            locked: false,
            record_wanted: false,
            poll_state: PollState::NotDue,
            reading_keys: 0,
            stopping: None,
        }
    }

    /// Returns `true` if the broker is connected and takes messages.
    pub(super) const fn can_publish(&self) -> bool {
        !self.channels.is_empty() && !self.blocked
    }
}
