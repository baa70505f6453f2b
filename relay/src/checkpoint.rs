//! How far the relay has come.

use crate::{
    capture::{Floors, Position, Snapshot},
    identity::Identity,
};

/// A frame of which only a part is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// Its snapshot.
    pub(crate) to: Snapshot,
    /// Highest position that it can hold.
    pub(crate) upper: Position,
    /// Rows up to here are delivered or parked.
    pub(crate) watermark: Position,
}

/// A row of `outbox.checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The database that it was made on.
    pub(crate) identity: Identity,
    /// Whatever this snapshot sees is delivered or parked.
    pub(crate) delivered: Snapshot,
    /// The frame under way.
    pub(crate) unfinished: Option<Unfinished>,
    /// After a rebase: rows up to the first position are walked, those up to the second are done.
    pub(crate) walk: Option<(Position, Position)>,
    /// Below which positions nothing can be new.
    pub(crate) floors: Floors,
}

impl Checkpoint {
    /// The checkpoint before the first message.
    pub(crate) fn beginning(identity: Identity) -> Self {
        Self {
            identity,
            delivered: Snapshot::beginning(),
            unfinished: None,
            walk: None,
            floors: Floors::default(),
        }
    }

    /// The highest position that is known to have been handed out.
    pub(crate) fn highest_position(&self) -> Position {
        let frame = self.unfinished.as_ref().map_or(0, |frame| frame.upper);
        let walk = self.walk.map_or(0, |(anchor, _)| anchor);
        self.floors.highest().max(frame).max(walk)
    }

    /// Above this position a row may have been parked although the watermark has not passed it.
    pub(crate) fn resumes_above(&self) -> Position {
        let frame = self.unfinished.as_ref().map(|frame| frame.watermark);
        frame
            .or(self.walk.map(|(_, walked)| walked))
            .unwrap_or(Position::MAX)
    }

    /// Every row at or below this position is delivered or parked, however old its transaction:
    /// leaves that end here may be expired.
    pub(crate) fn settled_below(&self) -> Position {
        let floor = self.floors.below(self.delivered.xmin());
        self.walk.map_or(floor, |(_, walked)| walked.min(floor))
    }
}
