//! Taking rows in and giving each its place.

use std::{collections::HashSet, sync::Arc};

use super::{
    Disposition, FrameId, Hold, Machine, Reason, Row, Settled,
    frame_window::FrameWindow,
    key::{Entry, Origin},
    pending_writes::Due,
};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Begins a frame. `already_parked` are rows that an earlier session parked above the watermark of the
    /// first frame; they are met again, in that one or in one of those after it, and passed over.
    pub fn open_frame(&mut self, id: FrameId, already_parked: HashSet<Position>) {
        debug_assert!(self.windows.back().is_none_or(|window| window.id < id));
        self.already_parked.extend(already_parked);
        self.windows.push_back(FrameWindow::new(id));
    }

    /// Takes the next row of a frame, in the order of positions.
    pub fn admit(&mut self, frame: FrameId, row: Row<M>) -> Option<Settled> {
        let Some(window) = self.windows.iter_mut().find(|window| window.id == frame) else {
            debug_assert!(false, "frame {frame} was never opened");
            return None;
        };
        window.admit(row.position);
        // An earlier session parked it out of a frame that is read again.
        if self.already_parked.remove(&row.position) || self.parked_in_hand.contains(&row.position)
        {
            window.settle(row.position);
            return None;
        }
        let entry = self.take_in(row, Origin::Frame(frame));
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
            Disposition::Due => self.line_up(entry),
        }
    }

    /// Ends a frame: no more of its rows will come.
    pub fn close_frame(&mut self, id: FrameId) {
        if let Some(window) = self.windows.iter_mut().find(|window| window.id == id) {
            window.close();
        }
    }

    pub(super) fn take_in(&mut self, row: Row<M>, origin: Origin) -> Entry<M> {
        self.rows += 1;
        self.bytes += row.bytes;
        Entry {
            row: Arc::new(row),
            origin,
            closures: 0,
            batch: 0,
        }
    }

    /// Gives a row its place: ready, waiting for its key, or parked behind it.
    fn line_up(&mut self, entry: Entry<M>) -> Option<Settled> {
        let Some(key) = entry.row.key.clone() else {
            self.make_ready(entry);
            return None;
        };
        let most = self.settings.key_rows;
        let state = self.key(&key);
        let mut hold = state.holds.over(&entry.row.topic);
        if hold.is_none() && state.waiting.len() >= most {
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

    /// Makes the next row of a key ready, if none is under way, and steps its drain.
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
                        // It stays parked as it is.
                        self.parked_in_hand.remove(&entry.row.position);
                        self.release(&entry);
                        continue;
                    }
                }
                Origin::Frame(_) => {
                    // Rows that overflowed lie behind what is in memory, and do not hold it.
                    let hold = if state.overflowed {
                        state.holds.over_topic(&entry.row.topic)
                    } else {
                        state.holds.over(&entry.row.topic)
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
