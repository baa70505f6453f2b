//! The model of the relay's checkpoint.
//!
//! The relay's own type holds more fields and is private. The fields here are the same and are derived in
//! the same way.

use relay::capture::{Floors, Position, Snapshot};

use crate::hashed::Hashed;

/// A partly delivered frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Unfinished {
    pub(crate) to: Hashed<Snapshot>,
    pub(crate) upper: Position,
    pub(crate) watermark: Position,
}

/// Progress of delivery: the delivered snapshot and the frame under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    pub(crate) delivered: Hashed<Snapshot>,
    pub(crate) unfinished: Option<Unfinished>,
}

/// A row of `outbox.checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Checkpoint {
    pub(crate) progress: Progress,
    pub(crate) floors: Hashed<Floors>,
}

impl Checkpoint {
    pub(crate) fn beginning() -> Self {
        Self {
            progress: Progress {
                delivered: Hashed(Snapshot::beginning()),
                unfinished: None,
            },
            floors: Hashed(Floors::default()),
        }
    }
}

impl Progress {
    /// Returns `true` if the row is delivered according to this progress.
    pub(crate) fn covers(&self, xid: u64, position: Position) -> bool {
        let in_frame = |frame: &Unfinished| frame.to.sees(xid) && position <= frame.watermark;
        self.delivered.sees(xid) || self.unfinished.as_ref().is_some_and(in_frame)
    }
}

/// A checkpoint being recorded: its transaction has an id and is not committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recording {
    pub(crate) xid: u64,
    pub(crate) checkpoint: Checkpoint,
    /// Position to pair with the id, read before the id was assigned.
    pub(crate) position: Position,
}
