//! What a delivered snapshot leaves to be delivered.

use super::{Floors, Page, Position, Snapshot, segment_end, segment_of, segment_start};

/// A transaction that the delivered snapshot saw running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Straggler {
    /// Its id.
    pub xid: u64,
    /// Its rows lie above this position.
    pub floor: Position,
}

/// Where a delivered snapshot ends.
///
/// Beyond it lie the rows of transactions from its `xmax` on, above their floor; and those of
/// stragglers, each above its own. A single floor for both would let one open writer make every
/// frame read again all that was written since it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    new_from: u64,
    new_floor: Position,
    stragglers: Vec<Straggler>,
}

impl Frontier {
    /// Makes the frontier of a delivered snapshot.
    pub fn of(delivered: &Snapshot, floors: &Floors) -> Self {
        let straggler = |&xid: &u64| Straggler {
            xid,
            floor: floors.below(xid),
        };
        Self {
            new_from: delivered.xmax(),
            new_floor: floors.below(delivered.xmax()),
            stragglers: delivered.running().iter().map(straggler).collect(),
        }
    }

    /// Keeps of the stragglers those that `later` sees finished.
    pub(super) fn seen_by(mut self, later: &Snapshot) -> Self {
        self.stragglers
            .retain(|straggler| later.sees(straggler.xid));
        self
    }

    /// Lowest id of the transactions that the delivered snapshot knew nothing of.
    pub const fn new_from(&self) -> u64 {
        self.new_from
    }

    /// Rows of those transactions lie above this position.
    pub const fn new_floor(&self) -> Position {
        self.new_floor
    }

    /// Transactions that the delivered snapshot saw running.
    pub fn stragglers(&self) -> &[Straggler] {
        &self.stragglers
    }

    /// Everything beyond lies above this position.
    pub(super) fn lowest(&self) -> Position {
        let floors = self.stragglers.iter().map(|straggler| straggler.floor);
        floors.fold(self.new_floor, i64::min)
    }

    /// The page that most frames begin with, whatever their snapshot: that of the leaf in which new
    /// rows begin. Only a straggler from an earlier leaf makes a frame begin elsewhere.
    pub const fn likely_page(&self) -> Page {
        let segment = segment_of(self.new_floor + 1);
        Page {
            after: segment_start(segment) - 1,
            upto: segment_end(segment),
        }
    }
}
