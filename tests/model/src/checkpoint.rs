//! What the relay records.
//!
//! The relay's own type holds more, and is private to it. The parts are the same, and they follow
//! from one another in the same way.

use relay::capture::{Floors, Position, Snapshot};

use crate::remembered::Remembered;

/// A frame of which only a part is delivered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Unfinished {
    pub(crate) to: Remembered<Snapshot>,
    pub(crate) upper: Position,
    pub(crate) watermark: Position,
}

/// How far the relay has come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    pub(crate) delivered: Remembered<Snapshot>,
    pub(crate) unfinished: Option<Unfinished>,
}

/// A row of `outbox.checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Checkpoint {
    pub(crate) progress: Progress,
    pub(crate) floors: Remembered<Floors>,
}

impl Checkpoint {
    pub(crate) fn beginning() -> Self {
        Self {
            progress: Progress {
                delivered: Remembered(Snapshot::beginning()),
                unfinished: None,
            },
            floors: Remembered(Floors::default()),
        }
    }
}

impl Progress {
    /// Whether a row is done, as far as this tells.
    pub(crate) fn covers(&self, xid: u64, position: Position) -> bool {
        let in_frame = |frame: &Unfinished| frame.to.sees(xid) && position <= frame.watermark;
        self.delivered.sees(xid) || self.unfinished.as_ref().is_some_and(in_frame)
    }
}

/// A record under way: its transaction has an id, and is not committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recording {
    pub(crate) xid: u64,
    pub(crate) checkpoint: Checkpoint,
    /// Position to pair with the id, read before that was assigned.
    pub(crate) position: Position,
}
