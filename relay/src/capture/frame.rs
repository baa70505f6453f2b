//! One step from a delivered snapshot to a newer one, read in pages.

use super::{Floors, Position, RING, Snapshot, segment_end, segment_of};

/// A transaction that the delivered snapshot saw running and that has finished since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Straggler {
    /// Its id.
    pub xid: u64,
    /// Its rows lie above this position.
    pub floor: Position,
}

/// The rows that `to` sees and `from` did not, in the order of their positions.
///
/// They are two sets: rows of transactions from `xmax(from)` on, above their floor; and rows of
/// stragglers, each above its own. A single floor for both would let one open writer make every
/// frame read again all that was written since it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    to: Snapshot,
    new_from: u64,
    new_floor: Position,
    stragglers: Vec<Straggler>,
    upper: Position,
    cursor: Position,
    walk: bool,
}

/// A request for the next rows of a frame, all within one leaf of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Leaf that holds them.
    pub slot: i16,
    /// Rows above this position,
    pub after: Position,
    /// and up to this one.
    pub upto: Position,
}

impl Frame {
    /// Makes the frame between two snapshots.
    ///
    /// `upper` is the highest position handed out, read *after* `to` was taken: whatever `to` sees
    /// lies at or below it. `after` resumes an unfinished frame; rows up to it are done.
    pub fn new(
        from: &Snapshot,
        to: Snapshot,
        upper: Position,
        floors: &Floors,
        after: Option<Position>,
    ) -> Self {
        let new_floor = floors.below(from.xmax());
        let stragglers: Vec<Straggler> = from
            .finished_in(&to)
            .into_iter()
            .map(|xid| Straggler {
                xid,
                floor: floors.below(xid),
            })
            .collect();
        let lowest = stragglers
            .iter()
            .map(|straggler| straggler.floor)
            .fold(new_floor, i64::min);
        let cursor = after.map_or(lowest, |after| after.max(lowest));
        Self {
            to,
            new_from: from.xmax(),
            new_floor,
            stragglers,
            upper,
            cursor,
            walk: false,
        }
    }

    /// Makes the walk over all rows up to an anchor, whatever their transactions: after a rebase,
    /// when ids recorded in the rows mean nothing to this server.
    pub const fn walk(delivered: Snapshot, anchor: Position, after: Position) -> Self {
        Self {
            to: delivered,
            new_from: 0,
            new_floor: 0,
            stragglers: Vec::new(),
            upper: anchor,
            cursor: after,
            walk: true,
        }
    }

    /// The snapshot that is delivered once the frame is.
    pub const fn to(&self) -> &Snapshot {
        &self.to
    }

    /// Highest position that the frame can hold.
    pub const fn upper(&self) -> Position {
        self.upper
    }

    /// Lowest id of the transactions that `from` knew nothing of.
    pub const fn new_from(&self) -> u64 {
        self.new_from
    }

    /// Rows of those transactions lie above this position.
    pub const fn new_floor(&self) -> Position {
        self.new_floor
    }

    /// Transactions that `from` saw running.
    pub fn stragglers(&self) -> &[Straggler] {
        &self.stragglers
    }

    /// Whether this is a walk by position alone.
    pub const fn is_walk(&self) -> bool {
        self.walk
    }

    /// The next page to read; `None` once all have been.
    pub fn next_page(&self) -> Option<Page> {
        if self.cursor >= self.upper {
            return None;
        }
        let segment = segment_of(self.cursor + 1);
        Some(Page {
            slot: (segment % RING) as i16,
            after: self.cursor,
            upto: segment_end(segment).min(self.upper),
        })
    }

    /// Notes what a page held: its last row's position, and whether the page ended there because
    /// it was full.
    pub fn advance(&mut self, page: Page, last: Option<Position>, full: bool) {
        debug_assert_eq!(page.after, self.cursor);
        debug_assert!(last.is_none_or(|last| page.after < last && last <= page.upto));
        self.cursor = match last {
            Some(last) if full => last,
            _ => page.upto,
        };
    }
}

#[cfg(test)]
mod tests;
