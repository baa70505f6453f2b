//! Rows of one key: at most one is ready or in flight, the others wait in order.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use super::{
    holds::{Hold, Holds},
    scan::{After, KeyRequest, RetryScan},
};
use crate::{
    capture::Position,
    publish::{
        FrameId, Reason,
        entry::{Entry, RowOrder},
    },
};

/// A row to park once the rows before it have left memory. Its message is dropped already.
#[derive(Debug)]
pub(in crate::publish) struct PendingPark {
    pub(in crate::publish) position: Position,
    pub(in crate::publish) topic: Arc<str>,
    pub(in crate::publish) frame: FrameId,
    pub(in crate::publish) hold: Hold,
}

impl PendingPark {
    const fn order(&self) -> RowOrder {
        (self.frame, self.position)
    }
}

/// Next step for the rows of a key.
#[derive(Debug)]
pub(in crate::publish) enum Next<M> {
    /// Park the pending rows that no frame row in memory precedes.
    Park(Vec<PendingPark>),
    /// Send the row.
    Send(Entry<M>),
    /// Skip the parked row: it stays in the table unchanged.
    Skip(Entry<M>),
    /// Park the row behind an earlier one.
    Behind(Entry<M>, Hold),
    /// Nothing.
    Nothing,
}

/// Rows of one key in memory, and the holds of its parked rows.
#[derive(Debug)]
pub(in crate::publish) struct KeyState<M> {
    /// The row that is ready or in flight: `true` if it came from a frame; `None` if there is none.
    active: Option<bool>,
    waiting: VecDeque<Entry<M>>,
    /// Number of waiting and active rows that came from frames.
    from_frames: usize,
    /// Rows to park after the frame rows before them. Parked earlier, they would overtake those
    /// rows after a crash.
    pending_parks: VecDeque<PendingPark>,
    holds: Holds,
    /// `true` if rows were parked only because the key filled its share of the window. None of them
    /// failed, so they are fetched as soon as the window holds no row of the key.
    overflowed: bool,
    scan: RetryScan,
    /// Number of records about the key's parked rows that are not written yet.
    unwritten: usize,
}

impl<M> Default for KeyState<M> {
    fn default() -> Self {
        Self {
            active: None,
            waiting: VecDeque::new(),
            from_frames: 0,
            pending_parks: VecDeque::new(),
            holds: Holds::default(),
            overflowed: false,
            scan: RetryScan::default(),
            unwritten: 0,
        }
    }
}

impl<M> KeyState<M> {
    /// Adds a row of a frame, or drops its message if the row is to be parked: a parked row holds it
    /// back, or `max` rows wait in memory. Returns `true` if the row is to be parked.
    pub(super) fn enqueue(&mut self, entry: Entry<M>, frame: FrameId, max: usize) -> bool {
        let mut hold = self.holds.hold_for(&entry.topic);
        if hold.is_none() && self.waiting.len() >= max {
            self.overflowed = true;
            hold = Some(Hold::Key);
        }
        let Some(hold) = hold else {
            self.from_frames += 1;
            self.waiting.push_back(entry);
            return false;
        };
        self.holds.add(hold, &entry.topic);
        self.pending_parks.push_back(PendingPark {
            position: entry.position,
            topic: Arc::clone(&entry.topic),
            frame,
            hold,
        });
        true
    }

    /// Adds a parked row that the key's scan has read.
    pub(in crate::publish) fn enqueue_parked(&mut self, entry: Entry<M>) {
        self.waiting.push_back(entry);
    }

    /// Decides what follows.
    pub(super) fn next(&mut self) -> Next<M> {
        let pending = self.pending_to_park();
        if !pending.is_empty() {
            return Next::Park(pending);
        }
        if self.active.is_some() {
            return Next::Nothing;
        }
        let Some(entry) = self.waiting.pop_front() else {
            return Next::Nothing;
        };
        if entry.was_parked() {
            if self.scan.skips(&entry.topic) {
                return Next::Skip(entry);
            }
        } else if let Some(hold) = self.hold_for_waiting(&entry.topic) {
            self.from_frames -= 1;
            return Next::Behind(entry, hold);
        }
        self.active = Some(!entry.was_parked());
        Next::Send(entry)
    }

    /// Takes the pending rows that no frame row in memory precedes.
    fn pending_to_park(&mut self) -> Vec<PendingPark> {
        if self.active == Some(true) || self.pending_parks.is_empty() {
            return Vec::new();
        }
        let first = self.waiting.iter().find_map(Entry::order);
        let before = |pending: &PendingPark| first.is_none_or(|first| pending.order() < first);
        let count = self.pending_parks.partition_point(before);
        self.pending_parks.drain(..count).collect()
    }

    /// Returns the hold that a row of a frame must wait for. Rows parked by an overflow follow the
    /// rows in memory, and do not hold them.
    fn hold_for_waiting(&self, topic: &Arc<str>) -> Option<Hold> {
        if self.overflowed {
            self.holds.topic_hold_for(topic)
        } else {
            self.holds.hold_for(topic)
        }
    }

    /// Continues or starts the scan, if no row of the key is in memory. Returns `true` if a page is
    /// wanted now.
    pub(super) fn continue_scan(&mut self) -> bool {
        if self.active.is_some() {
            return false;
        }
        if self.scan.is_idle() {
            return self.overflowed && self.scan.start();
        }
        match self.scan.step() {
            After::Nothing => false,
            After::Page => true,
            After::End(still_held) => {
                if let Some(topics) = still_held {
                    self.overflowed = false;
                    self.holds.reset(topics);
                }
                self.scan.wants_page()
            }
        }
    }

    /// Records that the ready row was settled, or left memory.
    pub(in crate::publish) fn release(&mut self, entry: &Entry<M>) {
        self.active = None;
        if !entry.was_parked() {
            self.from_frames -= 1;
        }
    }

    /// Records what a parked row holds back.
    pub(in crate::publish) fn hold(&mut self, topic: &Arc<str>, hold: Hold) {
        self.holds.add(hold, topic);
    }

    /// Records that a row is parked, and a write that concerns it.
    pub(in crate::publish) fn parked(&mut self, topic: &Arc<str>, reason: Reason, hold: Hold) {
        self.unwritten += 1;
        self.holds.add(hold, topic);
        self.scan.parked(topic, reason, hold);
        if reason != Reason::Behind && hold == Hold::Key {
            self.overflowed = false;
        }
    }

    /// Records a write that concerns a parked row of the key.
    pub(in crate::publish) const fn add_write(&mut self) {
        self.unwritten += 1;
    }

    pub(super) const fn written(&mut self) {
        self.unwritten -= 1;
    }

    /// Starts a retry scan, unless one is in progress. Returns `true` if it did.
    pub(super) fn start_scan(&mut self) -> bool {
        self.scan.start()
    }

    /// Records that a row that the scan has read is expired.
    pub(in crate::publish) fn expired(&mut self, topic: &Arc<str>) {
        self.scan.expired(topic);
    }

    /// Records that all rows of a page have been added.
    pub(in crate::publish) const fn page_taken(&mut self, last: Position, more: bool) {
        self.scan.taken(last, more);
    }

    /// Returns `true` if the page that the scan wants must wait: it must not reach above rows that
    /// are still to be parked.
    pub(super) fn must_write_first(&self) -> bool {
        self.scan.wants_page() && (self.unwritten > 0 || !self.pending_parks.is_empty())
    }

    /// Requests the page that the scan wants.
    pub(super) fn request(&mut self, key: &Arc<str>) -> Option<KeyRequest> {
        self.scan.request(key)
    }

    pub(super) fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    pub(super) fn has_frame_rows(&self) -> bool {
        self.from_frames > 0 || !self.pending_parks.is_empty()
    }

    /// Returns `true` if the key has no state to remember.
    pub(super) fn is_idle(&self) -> bool {
        self.active.is_none()
            && self.waiting.is_empty()
            && self.pending_parks.is_empty()
            && self.holds.is_empty()
            && !self.overflowed
            && self.scan.is_idle()
            && self.unwritten == 0
    }
}
