//! Admission of rows: each row is made ready, waits for its key, or is parked.

use std::{collections::HashSet, sync::Arc};

use super::{
    Disposition, FrameId, Hold, Machine, Reason, Row, Settled,
    frame_window::FrameWindow,
    key::{Entry, Origin},
    pending_writes::Due,
};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Begins a frame. `already_parked` are rows that an earlier session parked above the watermark
    /// of the first frame: that frame or a later one brings them again, and they are skipped.
    pub fn open_frame(&mut self, id: FrameId, already_parked: HashSet<Position>) {
        debug_assert!(self.windows.back().is_none_or(|window| window.id < id));
        self.already_parked.extend(already_parked);
        self.windows.push_back(FrameWindow::new(id));
    }

    /// Takes the next row of a frame, in the order of positions. Returns the decision if the row is
    /// dropped or parked at once.
    pub fn admit(&mut self, frame: FrameId, row: Row<M>) -> Option<Settled> {
        let Some(window) = self.windows.iter_mut().find(|window| window.id == frame) else {
            debug_assert!(false, "frame {frame} was never opened");
            return None;
        };
        window.admit(row.position);
        // The row was parked by an earlier session, whose frame is read again.
        if self.already_parked.remove(&row.position)
            || self.parked_in_progress.contains(&row.position)
        {
            window.settle(row.position);
            return None;
        }
        let entry = self.new_entry(row, Origin::Frame(frame));
        match entry.row.disposition {
            Disposition::Expired => {
                self.release(&entry);
                Some(Settled::Dropped)
            }
            Disposition::Scheduled => {
                self.park(
                    &entry,
                    Reason::Scheduled,
                    Hold::Nothing,
                    0,
                    Due::AsScheduled,
                    None,
                );
                Some(Settled::Parked(Reason::Scheduled))
            }
            Disposition::Due => self.enqueue(entry),
        }
    }

    /// Ends a frame: it has no more rows.
    pub fn close_frame(&mut self, id: FrameId) {
        if let Some(window) = self.windows.iter_mut().find(|window| window.id == id) {
            window.close();
        }
    }

    /// Counts a row as in memory, and returns its entry.
    pub(super) fn new_entry(&mut self, row: Row<M>, origin: Origin) -> Entry<M> {
        self.rows += 1;
        self.bytes += row.bytes;
        Entry {
            row: Arc::new(row),
            origin,
            closures: 0,
            batch: 0,
        }
    }

    /// Makes a row ready, lets it wait for its key, or parks it behind its key.
    fn enqueue(&mut self, entry: Entry<M>) -> Option<Settled> {
        let Some(key) = entry.row.key.clone() else {
            self.make_ready(entry);
            return None;
        };
        let max = self.settings.key_rows;
        let state = self.key(&key);
        let mut hold = state.holds.hold_for(&entry.row.topic);
        if hold.is_none() && state.waiting.len() >= max {
            state.overflowed = true;
            hold = Some(Hold::Key);
        }
        let Some(hold) = hold else {
            state.from_frames += 1;
            if state.active {
                state.waiting.push_back(entry);
            } else {
                debug_assert!(state.waiting.is_empty());
                state.active = true;
                self.make_ready(entry);
            }
            return None;
        };
        if state.from_frames > 0 || !state.pending_parks.is_empty() {
            self.park_later(&key, &entry, hold);
        } else {
            self.park(&entry, Reason::Behind, hold, 0, Due::Never, None);
            self.advance(&key);
        }
        Some(Settled::Parked(Reason::Behind))
    }

    /// Makes the next row of a key ready, if none is ready or in flight, and continues the key's
    /// retry scan.
    pub(super) fn advance(&mut self, key: &Arc<str>) {
        loop {
            let state = self.key(key);
            if state.active {
                return;
            }
            let Some(entry) = state.waiting.pop_front() else {
                break;
            };
            match entry.origin {
                Origin::Parked { .. } => {
                    if state.scan.skips(&entry.row.topic) {
                        // The row stays in the table unchanged.
                        self.parked_in_progress.remove(&entry.row.position);
                        self.release(&entry);
                        continue;
                    }
                }
                Origin::Frame(_) => {
                    // Rows parked by an overflow follow the rows in memory, and do not hold them.
                    let hold = if state.overflowed {
                        state.holds.topic_hold_for(&entry.row.topic)
                    } else {
                        state.holds.hold_for(&entry.row.topic)
                    };
                    if let Some(hold) = hold {
                        state.from_frames -= 1;
                        self.parked_behind += 1;
                        self.park(&entry, Reason::Behind, hold, 0, Due::Never, None);
                        continue;
                    }
                }
            }
            state.active = true;
            if !state.pending_parks.is_empty() {
                let mut waiting = state.waiting.iter();
                let first = entry.order().or_else(|| waiting.find_map(Entry::order));
                self.park_pending(key, first);
            }
            self.make_ready(entry);
            return;
        }
        if self.forget_idle(key) {
            return;
        }
        self.park_pending(key, None);
        self.step_key_retry(key);
        self.forget_idle(key);
    }
}
