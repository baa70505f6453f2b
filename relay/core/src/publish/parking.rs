//! Parking: the writes about parked rows, and the rows that they concern.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use super::{FrameId, Park, PendingWrites, entry::Origin};
use crate::capture::Position;

/// The rows that are parked, or were until their outcome is written.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// Rows of frames still to be read that an earlier session parked.
    already_parked: HashSet<Position>,
    /// Parked rows that are in memory, or whose outcome is not written yet.
    in_progress: HashSet<Position>,
    /// Parked rows that were dropped, each with the last frame opened by then.
    dropped: VecDeque<(FrameId, Position)>,
    writes: PendingWrites,
}

impl Parking {
    /// Adds rows that frames still to be read bring again.
    pub(super) fn add_already_parked(&mut self, already_parked: HashSet<Position>) {
        self.already_parked.extend(already_parked);
    }

    /// Returns `true` if a row of a frame has a parked copy: an earlier session parked the row, and
    /// its frame is read again.
    pub(super) fn has_copy(&mut self, position: Position) -> bool {
        self.already_parked.remove(&position) || self.in_progress.contains(&position)
    }

    /// Begins to try a parked row. Returns `false` if the row is tried already.
    pub(super) fn begin(&mut self, position: Position) -> bool {
        self.in_progress.insert(position)
    }

    /// Removes a parked row from memory; the row stays in the table.
    pub(super) fn unload(&mut self, position: Position) {
        self.in_progress.remove(&position);
    }

    pub(super) const fn in_progress(&self) -> &HashSet<Position> {
        &self.in_progress
    }

    /// Number of parked rows that are dropped but cannot be forgotten yet.
    pub(super) fn dropped(&self) -> usize {
        self.dropped.len()
    }

    /// Parks a row from a frame, or reschedules a row that was parked before.
    pub(super) fn park(&mut self, origin: Origin, park: Park) {
        match origin {
            Origin::Frame(_) => self.writes.parks.push(park),
            Origin::Parked { .. } => self.writes.reschedules.push(park),
        }
    }

    /// Deletes a parked row that is delivered.
    pub(super) fn forget(&mut self, position: Position) {
        self.writes.forgets.push(position);
    }

    /// Deletes a parked row that was dropped, perhaps by an operator, once every frame that may hold
    /// the row is finished: read again after a crash, such a frame would bring the row back as it
    /// was. `last` is the last frame that is open.
    pub(super) fn forget_dropped(&mut self, position: Position, last: Option<FrameId>) {
        match last {
            Some(frame) => self.dropped.push_back((frame, position)),
            None => self.forget(position),
        }
    }

    /// Records that a write concerns a row of this key.
    pub(super) fn record_for_key(&mut self, position: Position, key: &Arc<str>) {
        self.writes.add_key(position, Arc::clone(key));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.dropped.is_empty()
    }

    /// Returns `true` if there is something to write, once frames up to `finished` are.
    pub(super) fn has_writes(&self, finished: Option<FrameId>) -> bool {
        let first = self.dropped.front();
        !self.writes.is_empty() || first.is_some_and(|(frame, _)| Some(*frame) <= finished)
    }

    /// Takes all pending writes, once frames up to `finished` are.
    pub(super) fn take_writes(&mut self, finished: Option<FrameId>) -> PendingWrites {
        let may_forget = |(frame, _): &mut (FrameId, Position)| Some(*frame) <= finished;
        while let Some((_, position)) = self.dropped.pop_front_if(may_forget) {
            self.forget(position);
        }
        std::mem::take(&mut self.writes)
    }

    /// Records that a write is durable, except for `locked` rows, which are written again.
    pub(super) fn written(&mut self, write: &PendingWrites, locked: &[Position]) {
        for position in write.parked_positions() {
            if !locked.contains(&position) {
                self.unload(position);
            }
        }
        if !locked.is_empty() {
            self.writes.add_locked(write, locked);
        }
    }

    #[cfg(test)]
    pub(super) const fn writes(&self) -> &PendingWrites {
        &self.writes
    }
}
