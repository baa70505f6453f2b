//! Checkpoints: the record of how far the outbox is delivered.

use crate::{
    capture::{Floors, Position, Snapshot},
    identity::{Identity, Recognised},
};

/// A partly delivered frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unfinished {
    /// Snapshot at the frame's end.
    pub to: Snapshot,
    /// Highest position that the frame can hold.
    pub upper: Position,
    /// Position up to which all rows of the frame are delivered or parked.
    pub watermark: Position,
}

/// A row of `outbox.checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Database on which the checkpoint was recorded.
    pub identity: Identity,
    /// Snapshot whose visible rows are all delivered or parked.
    pub delivered: Snapshot,
    /// The frame under way; `None` if no frame is partly delivered.
    pub unfinished: Option<Unfinished>,
    /// Walk after a rebase: rows up to the first position (the anchor) are walked, rows up to the second
    /// are settled.
    pub walk: Option<(Position, Position)>,
    /// Floors, below which no undelivered row can appear.
    pub floors: Floors,
}

impl Checkpoint {
    /// Returns the checkpoint before the first message.
    pub fn beginning(identity: Identity) -> Self {
        Self {
            identity,
            delivered: Snapshot::beginning(),
            unfinished: None,
            walk: None,
            floors: Floors::default(),
        }
    }

    /// Compares the checkpoint with the server, whose current snapshot is `now`.
    ///
    /// A checkpoint from the server's future is foreign too: the server was set back to an earlier time.
    pub fn recognise(&self, server: &Identity, now: &Snapshot) -> Recognised {
        if self.delivered.xmax() > now.xmax() {
            Recognised::Foreign
        } else {
            self.identity.recognise(server)
        }
    }

    /// Returns the highest position known to be allocated by the sequence.
    pub fn highest_position(&self) -> Position {
        let frame = self.unfinished.as_ref().map_or(0, |frame| frame.upper);
        let walk = self.walk.map_or(0, |(anchor, _)| anchor);
        self.floors.highest().max(frame).max(walk)
    }

    /// Returns the position above which rows may already be parked although the watermark has not passed
    /// them.
    pub fn resumes_above(&self) -> Position {
        let frame = self.unfinished.as_ref().map(|frame| frame.watermark);
        frame
            .or(self.walk.map(|(_, walked)| walked))
            .unwrap_or(Position::MAX)
    }

    /// Returns the position at or below which every row is delivered or parked, however old its
    /// transaction. Leaves that end there may be expired.
    pub fn settled_below(&self) -> Position {
        let floor = self.floors.below(self.delivered.xmin());
        self.walk.map_or(floor, |(_, walked)| walked.min(floor))
    }
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, Identity, Recognised, Snapshot};

    #[test]
    fn a_checkpoint_ahead_of_the_server_is_foreign() {
        let here = Identity {
            system_identifier: 7,
            database_oid: 5,
            timeline: 1,
        };
        let recorded = Checkpoint {
            delivered: Snapshot::before(100),
            ..Checkpoint::beginning(here)
        };
        let now = |xid| recorded.recognise(&here, &Snapshot::before(xid));
        assert_eq!(now(100), Recognised::Same);
        assert_eq!(now(99), Recognised::Foreign);
        let promoted = Checkpoint {
            identity: Identity {
                timeline: 2,
                ..here
            },
            ..recorded.clone()
        };
        let now = promoted.recognise(&here, &Snapshot::before(200));
        assert_eq!(now, Recognised::Foreign);
    }
}
