//! Rows that enter memory: each is made ready, waits for its key, or is parked.

use std::{collections::HashSet, sync::Arc};

use super::Machine;
use crate::{
    capture::Position,
    publish::{
        Disposition, DropReason, Dropped, FrameId, Hold, Park, ParkedRow, Reason, Row, Settled,
        entry::{Entry, Origin},
        keys::{Next, PendingPark},
    },
};

impl<M> Machine<M> {
    /// Begins a frame. `already_parked` are rows that an earlier session parked above the watermark
    /// of the first frame: that frame or a later one brings them again, and they are skipped.
    pub fn open_frame(&mut self, id: FrameId, already_parked: HashSet<Position>) {
        self.parking.add_already_parked(already_parked);
        self.window.open(id);
    }

    /// Ends a frame: it has no more rows.
    pub fn close_frame(&mut self, id: FrameId) {
        self.window.close(id);
    }

    /// Takes the next row of a frame, in the order of positions. Returns the decision if the row is
    /// dropped or parked at once.
    pub fn admit(&mut self, frame: FrameId, row: Row<M>) -> Option<Settled> {
        let position = row.position;
        if !self.window.admit(frame, position) {
            return None;
        }
        if self.parking.has_copy(position) {
            self.window.settle(frame, position);
            return None;
        }
        let entry = self.load(row, Origin::Frame(frame));
        match entry.disposition {
            Disposition::Expired => {
                self.drop(&entry, DropReason::Expired);
                Some(Settled::Dropped)
            }
            Disposition::Scheduled => {
                self.park(
                    &entry,
                    Park::first(position, Reason::Scheduled, Hold::Nothing),
                );
                Some(Settled::Parked(Reason::Scheduled))
            }
            Disposition::Due => self.enqueue(entry, frame),
        }
    }

    /// Takes a parked row that holds nothing: it has no key, or has left its key's order.
    ///
    /// Ignores a row that is being retried already.
    pub fn retry(&mut self, parked: ParkedRow<M>) -> Option<Settled> {
        let position = parked.row.position;
        // A frame that is read again may have brought the row too.
        if self.window.has_unsettled(position) {
            return None;
        }
        let attempts = parked.attempts;
        let row = Row {
            key: None,
            ..parked.row
        };
        let entry = self.load_parked(row, attempts)?;
        if entry.disposition == Disposition::Expired {
            self.drop(&entry, DropReason::Expired);
            return Some(Settled::Dropped);
        }
        self.sending.add(entry);
        None
    }

    /// Takes a page of a key's parked rows, in order; `more` is `true` if the page was full.
    /// Returns the number of expired rows.
    pub fn take_key_rows(&mut self, key: &Arc<str>, rows: Vec<ParkedRow<M>>, more: bool) -> usize {
        let mut expired = 0;
        let last = rows.last().map_or(0, |parked| parked.row.position);
        for parked in rows {
            let Some(entry) = self.load_parked(parked.row, parked.attempts) else {
                continue;
            };
            if entry.disposition == Disposition::Expired {
                self.drop(&entry, DropReason::Expired);
                self.keys.state(key).expired(&entry.topic);
                expired += 1;
                continue;
            }
            self.keys.state(key).enqueue_parked(entry);
        }
        self.keys.state(key).page_taken(last, more);
        self.advance(key);
        expired
    }

    /// Makes a row ready, lets it wait for its key, or parks it behind its key.
    fn enqueue(&mut self, entry: Entry<M>, frame: FrameId) -> Option<Settled> {
        let Some(key) = &entry.key.clone() else {
            self.sending.add(entry);
            return None;
        };
        let bytes = entry.bytes;
        let is_parked = self.keys.enqueue(key, entry, frame);
        if is_parked {
            self.window.unload(bytes);
        }
        self.advance(key);
        is_parked.then_some(Settled::Parked(Reason::Behind))
    }

    /// Makes the next row of a key ready, if none is ready or in flight, and continues the key's
    /// retry scan.
    pub(super) fn advance(&mut self, key: &Arc<str>) {
        loop {
            match self.keys.next(key) {
                Next::Send(entry) => return self.sending.add(entry),
                Next::Skip(entry) => {
                    self.parking.unload(entry.position);
                    self.window.release(&entry);
                }
                Next::Behind(entry, hold) => {
                    self.parked_behind += 1;
                    self.park(&entry, Park::first(entry.position, Reason::Behind, hold));
                }
                Next::Park(pending) => self.park_pending(key, pending),
                Next::Nothing => return,
            }
        }
    }

    fn park_pending(&mut self, key: &Arc<str>, pending: Vec<PendingPark>) {
        for row in pending {
            let park = Park::first(row.position, Reason::Behind, row.hold);
            self.parking.park(Origin::Frame(row.frame), park);
            self.window.settle(row.frame, row.position);
            self.parking.record_for_key(row.position, key);
            let state = self.keys.state(key);
            state.parked(&row.topic, Reason::Behind, row.hold);
        }
    }

    /// Counts a row as in memory, and returns its entry.
    fn load(&mut self, row: Row<M>, origin: Origin) -> Entry<M> {
        self.window.load(row.bytes);
        Entry::new(row, origin)
    }

    /// Like [`Machine::load`], for a parked row; `None` if the row is in progress.
    fn load_parked(&mut self, row: Row<M>, attempts: u32) -> Option<Entry<M>> {
        let begins = self.parking.begin(row.position);
        begins.then(|| self.load(row, Origin::Parked { attempts }))
    }

    /// Removes a row that is dropped from memory, and lets the drop be recorded.
    pub(super) fn drop(&mut self, entry: &Entry<M>, reason: DropReason) {
        let position = entry.position;
        let dropped = Dropped { position, reason };
        self.window.release(entry);
        match entry.origin() {
            Origin::Frame(frame) => self.parking.drop_row(frame, dropped),
            Origin::Parked { .. } => self.parking.drop_parked(dropped, self.window.last()),
        }
    }
}
