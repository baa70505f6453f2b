//! The engine's own state.

use tokio::{sync::mpsc, time::Instant};

use crate::{broker::BatchRequest, capture::Position, publish::Progress};

/// Whether rows may be taken from the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// What is visible is durable.
    Open,
    /// A commit must be recorded first.
    Wanted,
    /// It has been asked for.
    Asked,
}

/// A look at parked rows that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Its time has not come.
    NotDue,
    /// It waits until there is room.
    Due,
    /// It is under way.
    UnderWay,
}

/// What is under way.
#[derive(Debug)]
pub(super) struct SessionState {
    /// Channels of the broker's connection that wait for an order, and all of them.
    pub(super) idle: Vec<usize>,
    pub(super) channels: Vec<mpsc::Sender<BatchRequest>>,
    pub(super) blocked: bool,
    pub(super) gate: Gate,
    /// A record is under way: the position to pair with its transaction.
    pub(super) recording: Option<Position>,
    pub(super) recorded: Option<Progress>,
    pub(super) record_after: Instant,
    /// What was recorded last left out rows that somebody had locked.
    pub(super) locked: bool,
    /// There is something to record, and it waits for its time.
    pub(super) record_wanted: bool,
    pub(super) look: Look,
    /// Drains that are being read.
    pub(super) reading_keys: usize,
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
            look: Look::NotDue,
            reading_keys: 0,
            stopping: None,
        }
    }

    /// Whether the broker is there, and takes messages.
    pub(super) const fn can_publish(&self) -> bool {
        !self.channels.is_empty() && !self.blocked
    }
}
