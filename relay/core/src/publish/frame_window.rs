//! Settlement of each frame's rows, and the watermark below them.

use std::collections::VecDeque;

use crate::capture::Position;

/// Number of a frame, counted within a session.
pub type FrameId = u64;

/// Progress of the frames, for a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Last frame that is finished, as are all before it.
    pub finished: Option<FrameId>,
    /// The frame after `finished`, if it has been opened.
    pub current: Option<FrameId>,
    /// Highest position up to which every row of the current frame is delivered, dropped or parked.
    pub watermark: Option<Position>,
}

/// The rows of one frame between admission and settlement.
#[derive(Debug)]
pub(super) struct FrameWindow {
    id: FrameId,
    /// Rows above the watermark, by position; `true` once settled.
    rows: VecDeque<(Position, bool)>,
    watermark: Option<Position>,
    closed: bool,
}

impl FrameWindow {
    pub(super) const fn new(id: FrameId) -> Self {
        Self {
            id,
            rows: VecDeque::new(),
            watermark: None,
            closed: false,
        }
    }

    pub(super) const fn id(&self) -> FrameId {
        self.id
    }

    /// Adds a row.
    pub(super) fn admit(&mut self, position: Position) {
        debug_assert!(self.rows.back().is_none_or(|(last, _)| *last < position));
        self.rows.push_back((position, false));
    }

    pub(super) fn settle(&mut self, position: Position) {
        if let Some(index) = self.find(position) {
            self.rows[index].1 = true;
        }
        while let Some((position, true)) = self.rows.front() {
            self.watermark = Some(*position);
            self.rows.pop_front();
        }
    }

    fn find(&self, position: Position) -> Option<usize> {
        let (first, _) = self.rows.front()?;
        // Positions mostly follow each other without a gap.
        let guess = usize::try_from(position - first).unwrap_or(usize::MAX);
        let is_there = |(row, _): &(Position, bool)| *row == position;
        if self.rows.get(guess).is_some_and(is_there) {
            return Some(guess);
        }
        let found = self.rows.binary_search_by_key(&position, |(row, _)| *row);
        found.ok()
    }

    /// Returns `true` if the frame has this row and it is not settled.
    pub(super) fn has_unsettled(&self, position: Position) -> bool {
        self.find(position).is_some_and(|index| !self.rows[index].1)
    }

    pub(super) const fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_finished(&self) -> bool {
        self.closed && self.rows.is_empty()
    }

    pub(super) const fn watermark(&self) -> Option<Position> {
        self.watermark
    }

    #[cfg(test)]
    pub(super) fn unsettled_rows(&self) -> usize {
        self.rows.iter().filter(|(_, settled)| !settled).count()
    }

    /// Number of rows between the watermark and the last row read.
    pub(super) fn span(&self) -> usize {
        self.rows.len()
    }
}
