//! Parking of rows, and its effect on their keys.

use std::sync::Arc;

use super::{
    Hold, Machine, Park, Reason,
    key::{Entry, Origin, PendingPark, RowOrder},
    pending_writes::Due,
};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Parks a row from a frame, or reschedules a row that was parked before.
    pub(super) fn park(
        &mut self,
        entry: &Entry<M>,
        reason: Reason,
        hold: Hold,
        attempts: u32,
        due: Due,
        detail: Option<String>,
    ) {
        self.release(entry);
        let park = Park {
            position: entry.row.position,
            reason,
            hold,
            attempts,
            due,
            detail,
        };
        match entry.origin {
            Origin::Frame(_) => self.writes.parks.push(park),
            Origin::Parked { .. } => self.writes.reschedules.push(park),
        }
        if let Some(key) = &entry.row.key
            && hold != Hold::Nothing
        {
            self.hold_back(entry.row.position, key, &entry.row.topic, reason, hold);
        }
    }

    /// Removes a row's message from memory now; the row is parked once the rows before it have left
    /// memory.
    pub(super) fn park_later(&mut self, key: &Arc<str>, entry: &Entry<M>, hold: Hold) {
        let Origin::Frame(frame) = entry.origin else {
            debug_assert!(false, "it is parked already");
            return;
        };
        self.rows -= 1;
        self.bytes -= entry.row.bytes;
        let state = self.key(key);
        state.holds.add(hold, &entry.row.topic);
        state.pending_parks.push_back(PendingPark {
            position: entry.row.position,
            topic: Arc::clone(&entry.row.topic),
            frame,
            hold,
        });
    }

    /// Parks the pending rows that no frame row in memory precedes; `first` is the key's first such
    /// row.
    pub(super) fn park_pending(&mut self, key: &Arc<str>, first: Option<RowOrder>) {
        let pending_parks = &mut self.key(key).pending_parks;
        let before = |pending: &PendingPark| first.is_none_or(|first| pending.order() < first);
        let count = pending_parks.partition_point(before);
        for pending in pending_parks.drain(..count).collect::<Vec<_>>() {
            self.writes.parks.push(Park {
                position: pending.position,
                reason: Reason::Behind,
                hold: pending.hold,
                attempts: 0,
                due: Due::Never,
                detail: None,
            });
            self.pass_watermark(pending.frame, pending.position);
            let (position, topic) = (pending.position, &pending.topic);
            self.hold_back(position, key, topic, Reason::Behind, pending.hold);
        }
    }

    pub(super) fn record_forget(&mut self, entry: &Entry<M>) {
        self.writes.forgets.push(entry.row.position);
        if let Some(key) = &entry.row.key {
            self.record_for_key(entry.row.position, key);
        }
    }

    fn record_for_key(&mut self, position: Position, key: &Arc<str>) {
        self.writes.keys.push((position, Arc::clone(key)));
        self.key(key).unwritten += 1;
    }

    fn hold_back(
        &mut self,
        position: Position,
        key: &Arc<str>,
        topic: &Arc<str>,
        reason: Reason,
        hold: Hold,
    ) {
        self.record_for_key(position, key);
        let state = self.key(key);
        state.holds.add(hold, topic);
        match (reason, hold) {
            (Reason::Behind, Hold::Topic) if state.scan.failed_topics.contains(topic) => {}
            (Reason::Behind, _) => state.scan.parked_since = true,
            // A row failed, from a frame or parked before: a scan in progress must not try it again
            // before it is due.
            (_, Hold::Key) => {
                state.scan.stopped = true;
                state.overflowed = false;
            }
            _ => {
                state.scan.failed_topics.insert(topic);
            }
        }
    }
}
