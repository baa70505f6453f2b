//! Boundary between the rows that are delivered and the rows still to be delivered.

use super::{Floors, Page, Position, Snapshot, segment_end, segment_of, segment_start};

/// A transaction that the delivered snapshot saw running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Straggler {
    /// Id of the transaction.
    pub xid: u64,
    /// The transaction's rows lie above this position.
    pub floor: Position,
}

/// Boundary of a delivered snapshot.
///
/// Beyond the frontier lie the rows of transactions from the snapshot's `xmax` on, above their
/// floor, and the rows of stragglers, each above its own floor. With a single floor for both, one
/// open writer would make every frame read again all that was written since the writer began.
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

    /// Keeps only the stragglers that `later` sees finished.
    pub(super) fn with_stragglers_finished_in(mut self, later: &Snapshot) -> Self {
        self.stragglers
            .retain(|straggler| later.sees(straggler.xid));
        self
    }

    /// Lowest id of the transactions that are new since the delivered snapshot.
    pub const fn new_from(&self) -> u64 {
        self.new_from
    }

    /// Rows of the new transactions lie above this position.
    pub const fn new_floor(&self) -> Position {
        self.new_floor
    }

    /// Transactions that the delivered snapshot saw running.
    pub fn stragglers(&self) -> &[Straggler] {
        &self.stragglers
    }

    /// All rows beyond the frontier lie above this position.
    pub(super) fn lowest(&self) -> Position {
        let floors = self.stragglers.iter().map(|straggler| straggler.floor);
        floors.fold(self.new_floor, i64::min)
    }

    /// The page with which most frames begin, whatever their snapshot: the segment in which new rows begin. A frame
    /// begins elsewhere only if it has a straggler with rows in an earlier segment.
    pub const fn likely_page(&self) -> Page {
        let segment = segment_of(self.new_floor + 1);
        Page {
            after: segment_start(segment) - 1,
            upto: segment_end(segment),
        }
    }
}
