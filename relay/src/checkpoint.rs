//! How far the relay has come.

use crate::{
    capture::{Floors, Position, Snapshot},
    identity::{Identity, Recognised},
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

    /// What it says about the server at hand, whose snapshot is `now`.
    ///
    /// One from the server's future is foreign, too: the server went back to an earlier time.
    pub(crate) fn recognise(&self, server: &Identity, now: &Snapshot) -> Recognised {
        if self.delivered.xmax() > now.xmax() {
            Recognised::Foreign
        } else {
            self.identity.recognise(server)
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

#[cfg(test)]
mod tests {
    use super::{Checkpoint, Identity, Recognised, Snapshot};

    #[test]
    fn what_the_server_has_not_reached_is_another_history() {
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
