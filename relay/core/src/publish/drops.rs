//! Drops that wait to be recorded: each with the checkpoint that passes its row, and not before.
//!
//! Recorded earlier, a drop could be followed by a crash after which the row is read again, and published: a queue has
//! been bound meanwhile, say.

use std::collections::{BTreeMap, VecDeque};

use super::{Dropped, FrameId, PendingWrites, entry::RowOrder};
use crate::capture::Position;

/// Drops that wait to be recorded.
#[derive(Debug, Default)]
pub(super) struct Drops {
    /// Rows of frames.
    rows: BTreeMap<RowOrder, Dropped>,
    /// Parked rows, each with the last frame that may hold its row.
    parked: VecDeque<(FrameId, Dropped)>,
}

impl Drops {
    pub(super) fn add_row(&mut self, order: RowOrder, dropped: Dropped) {
        self.rows.insert(order, dropped);
    }

    pub(super) fn add_parked(&mut self, last: FrameId, dropped: Dropped) {
        self.parked.push_back((last, dropped));
    }

    /// Number of rows of frames.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Number of parked rows.
    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.parked.is_empty()
    }

    /// Returns `true` if a checkpoint that passes rows up to `passed` records a drop.
    pub(super) fn may_record(&self, passed: Option<RowOrder>) -> bool {
        let row = self.rows.keys().next();
        let parked = self.parked.front();
        row.is_some_and(|order| Some(*order) <= passed)
            || parked.is_some_and(|(frame, _)| is_finished(*frame, passed))
    }

    /// Moves the drops that a checkpoint records into its write.
    pub(super) fn record(&mut self, passed: Option<RowOrder>, writes: &mut PendingWrites) {
        while let Some(first) = self.rows.first_entry()
            && Some(*first.key()) <= passed
        {
            writes.drops.push(first.remove());
        }
        let is_recorded = |(frame, _): &mut (FrameId, Dropped)| is_finished(*frame, passed);
        while let Some((_, dropped)) = self.parked.pop_front_if(is_recorded) {
            writes.drop_parked(dropped);
        }
    }
}

/// Returns `true` if a checkpoint that passes rows up to `passed` has finished the frame.
fn is_finished(frame: FrameId, passed: Option<RowOrder>) -> bool {
    Some((frame, Position::MAX)) <= passed
}
