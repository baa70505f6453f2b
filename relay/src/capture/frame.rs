//! Frames: one step from a delivered snapshot to a newer one, read in pages.

use super::{Floors, Frontier, Position, RING, Snapshot, segment_end, segment_of};

/// The rows beyond a frontier that a newer snapshot sees, in the order of their positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Frontier at which the frame begins, with the stragglers that have finished.
    frontier: Frontier,
    to: Snapshot,
    upper: Position,
    cursor: Position,
    walk: bool,
}

/// A request for the next rows of a frame, all within one leaf of the ring.
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
        let frontier = frontier.seen_by(&to);
        let lowest = frontier.lowest();
        Self {
            frontier,
            to,
            upper,
            cursor: after.map_or(lowest, |after| after.max(lowest)),
            walk: false,
        }
    }

    /// Makes a walk over all rows up to an anchor, whatever their transactions: after a rebase, the
    /// ids recorded in the rows mean nothing to this server.
    pub fn walk(delivered: Snapshot, anchor: Position, after: Position) -> Self {
        Self {
            frontier: Frontier::of(&delivered, &Floors::default()),
            to: delivered,
            upper: anchor,
            cursor: after,
            walk: true,
        }
    }

    /// Snapshot that is delivered once the frame is.
    pub const fn to(&self) -> &Snapshot {
        &self.to
    }

    /// Highest position that the frame can hold.
    pub const fn upper(&self) -> Position {
        self.upper
    }

    /// Frontier at which the frame begins. Its stragglers are those that `to` sees finished.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Returns `true` if this is a walk by position alone.
    pub const fn is_walk(&self) -> bool {
        self.walk
    }

    /// Returns the next page to read; `None` once all have been read.
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

    /// Returns `true` if the frame begins in the segment of a page that was read before the frame
    /// was known.
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
