//! Frames: one step from a delivered snapshot to a newer one, read in pages.
//!
//! `docs/glossary.md` defines the terms: frontier, straggler, floor, segment, leaf, anchor.

use super::{Floors, Frontier, Position, RING, Snapshot, segment_end, segment_of};

/// The rows beyond a frontier that a newer snapshot sees, in the order of their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Frontier of the delivered snapshot. Its stragglers: the transactions that were open in the delivered snapshot
    /// and that `to` sees finished.
    frontier: Frontier,
    /// The newer snapshot.
    to: Snapshot,
    /// Highest position that the frame can hold.
    upper: Position,
    /// Rows up to this position have been read.
    cursor: Position,
    /// `true` if the frame consists of all rows between two positions, whatever their transactions.
    walk: bool,
}

/// A request for the next rows of a frame, all within one segment, so in one leaf of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only rows above this position.
    pub after: Position,
    /// Only rows up to this position.
    pub upto: Position,
}

impl Page {
    /// Number of the segment that holds the page.
    pub const fn segment(self) -> i64 {
        segment_of(self.upto)
    }

    /// Number of the leaf that holds the segment.
    pub const fn leaf(self) -> usize {
        (self.segment() % RING) as usize
    }
}

impl Frame {
    /// Makes the frame from a frontier to a newer snapshot.
    ///
    /// `upper` is the highest position handed out, read *after* `to` was taken: all rows that `to`
    /// sees lie at or below it. `after` resumes an unfinished frame; rows up to it are done.
    pub fn new(frontier: Frontier, to: Snapshot, upper: Position, after: Option<Position>) -> Self {
        let frontier = frontier.with_stragglers_finished_in(&to);
        let lowest = frontier.lowest();
        Self {
            frontier,
            to,
            upper,
            cursor: after.map_or(lowest, |after| after.max(lowest)),
            walk: false,
        }
    }

    /// Makes a frame of all rows between two positions, whatever their transactions: those above `after`, up to
    /// `anchor`. Used after `relay rebase`, because another server may have assigned the transaction ids in the rows.
    /// `delivered` is delivered once the walk is.
    pub fn walk(delivered: Snapshot, anchor: Position, after: Position) -> Self {
        Self {
            frontier: Frontier::of(&delivered, &Floors::default()),
            to: delivered,
            upper: anchor,
            cursor: after,
            walk: true,
        }
    }

    /// The newer snapshot. Once all rows of the frame are delivered, so is everything that this snapshot sees.
    pub const fn to(&self) -> &Snapshot {
        &self.to
    }

    /// Highest position that the frame can hold.
    pub const fn upper(&self) -> Position {
        self.upper
    }

    /// Frontier of the delivered snapshot. Its stragglers: the transactions that were open in the delivered snapshot
    /// and that `to` sees finished.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Returns `true` if this is a walk by position alone.
    pub const fn is_walk(&self) -> bool {
        self.walk
    }

    /// Returns the next page to read; `None` once all have been read.
    ///
    /// A page must reach to the end of its segment or to `upper`: the reader may use a page that was read ahead in its
    /// place ([`Frontier::likely_page`]), which reaches to the end of the segment.
    pub fn next_page(&self) -> Option<Page> {
        if self.cursor >= self.upper {
            return None;
        }
        let segment = segment_of(self.cursor + 1);
        Some(Page {
            after: self.cursor,
            upto: segment_end(segment).min(self.upper),
        })
    }

    /// Returns `true` if `page`, which was read ahead together with the snapshot, lies in the segment in which the
    /// frame begins.
    pub fn begins_in(&self, page: Page) -> bool {
        let first = self.next_page();
        first.is_some_and(|first| first.segment() == page.segment())
    }

    /// Records the result of a page: the position of its last row, and `true` if the page ended
    /// there because it was full.
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
