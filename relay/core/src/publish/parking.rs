//! Parking: the writes about parked and dropped rows, and the rows that they concern.

use std::{collections::HashSet, sync::Arc};

use super::{
    Dropped, FrameId, Park, PendingWrites,
    drops::Drops,
    entry::{Origin, RowOrder},
};
use crate::capture::Position;

/// The rows that are parked, or were until their outcome is written.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// Rows of frames still to be read that an earlier session parked.
    already_parked: HashSet<Position>,
    /// Parked rows that are in memory, or whose outcome is not written yet.
    in_progress: HashSet<Position>,
    drops: Drops,
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
        self.drops.parked()
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
    pub(super) fn drop_parked(&mut self, dropped: Dropped, last: Option<FrameId>) {
        match last {
            Some(frame) => self.drops.add_parked(frame, dropped),
            None => self.writes.drop_parked(dropped),
        }
    }

    /// Records that a row of a frame was dropped, once the watermark has passed the row.
    pub(super) fn drop_row(&mut self, frame: FrameId, dropped: Dropped) {
        self.drops.add_row((frame, dropped.position), dropped);
    }

    /// Number of dropped rows of frames whose record the watermark allows, or does not allow yet.
    pub(super) fn dropped_rows(&self) -> usize {
        self.drops.rows()
    }

    /// Records that a write concerns a row of this key.
    pub(super) fn record_for_key(&mut self, position: Position, key: &Arc<str>) {
        self.writes.add_key(position, Arc::clone(key));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.drops.is_empty()
    }

    /// Returns `true` if there is something to write with a checkpoint that passes rows up to `passed`.
    pub(super) fn has_writes(&self, passed: Option<RowOrder>) -> bool {
        !self.writes.is_empty() || self.drops.may_record(passed)
    }

    /// Takes all pending writes for a checkpoint that passes rows up to `passed`.
    pub(super) fn take_writes(&mut self, passed: Option<RowOrder>) -> PendingWrites {
        self.drops.record(passed, &mut self.writes);
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
