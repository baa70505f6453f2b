//! The publishing machine: it passes rows from one of its parts to another, and each part decides.

mod rows;
mod settle;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc};

use super::{
    Backoff, Batch, Hold, KeyRequest, PendingWrites, Progress, TopicPatterns, keys::Keys,
    parking::Parking, sending::Sending, unbound::Unbound, window::Window,
};
use crate::capture::Position;

/// Limits and policies of the machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most rows in memory; up to one page more may be admitted.
    pub window_rows: usize,
    /// Most bytes of messages in memory; up to one page more may be admitted.
    pub window_bytes: usize,
    /// Most rows of one key in memory; further rows are parked behind them.
    pub key_rows: usize,
    /// Most rows above the watermarks of all frames together.
    pub span: usize,
    /// Most isolated batches in flight at once, so that channels remain for other topics.
    pub isolated_batches: usize,
    /// Waits between attempts of a parked row.
    pub backoff: Backoff,
    /// Topics whose unroutable messages are dropped instead of parked.
    pub drop_unroutable: TopicPatterns,
}

/// Decides which rows are published or parked, and how far the watermark may go.
#[derive(Debug)]
pub struct Machine<M> {
    backoff: Backoff,
    drop_unroutable: TopicPatterns,
    /// Dropped rows of frames that wait to be recorded, at most; up to one page more may be admitted.
    max_drops: usize,
    window: Window,
    keys: Keys<M>,
    sending: Sending<M>,
    parking: Parking,
    unbound: Unbound,
    /// Number of rows parked behind an earlier row of their key, since the last report.
    parked_behind: usize,
}

impl<M> Machine<M> {
    /// Makes an empty machine.
    pub fn new(settings: Settings) -> Self {
        Self {
            window: Window::new(&settings),
            keys: Keys::new(&settings),
            sending: Sending::new(&settings),
            parking: Parking::default(),
            unbound: Unbound::default(),
            parked_behind: 0,
            backoff: settings.backoff,
            max_drops: settings.span,
            drop_unroutable: settings.drop_unroutable,
        }
    }

    /// Returns `true` if more rows of frames may be admitted.
    pub fn has_room(&self) -> bool {
        self.window.has_room() && self.parking.dropped_rows() < self.max_drops
    }

    /// Returns `true` if more parked rows may be taken. They have room beyond the window: as long
    /// as rows wait in the outbox, frames fill every gap, and parked rows would wait for all of
    /// them.
    pub const fn has_room_for_parked(&self) -> bool {
        self.window.has_room_for_parked()
    }

    /// Number of rows in memory.
    pub const fn rows(&self) -> usize {
        self.window.rows()
    }

    /// Positions of parked rows that are in memory, or whose outcome is not written yet.
    pub const fn parked_in_progress(&self) -> &HashSet<Position> {
        self.parking.in_progress()
    }

    /// Number of parked rows that are dropped but cannot be forgotten yet.
    pub fn dropped(&self) -> usize {
        self.parking.dropped()
    }

    /// Number of rows that have been handed out and not settled.
    pub fn in_flight(&self) -> usize {
        self.sending.in_flight()
    }

    /// Returns `true` if there are messages that may be handed out. [`Machine::next_batch`] may
    /// hold them back until others are settled.
    pub fn has_ready(&self) -> bool {
        self.sending.has_ready()
    }

    /// Returns `true` if no row is in memory and nothing is left to record.
    pub fn is_idle(&self) -> bool {
        self.rows() == 0 && self.parking.is_empty()
    }

    /// Returns the least value of `of` over the messages in memory that were not parked. Only
    /// messages that are ready or in flight are compared: each is the first of its key.
    pub fn min_by<T: Ord>(&self, of: impl Fn(&M) -> T) -> Option<T> {
        let first = self.sending.entries().filter(|entry| !entry.was_parked());
        first.map(|entry| of(&entry.message)).min()
    }

    /// Number of keys that parked rows hold back, wholly or for some topics.
    pub fn held_keys(&self) -> usize {
        self.keys.held()
    }

    /// Takes the number of rows that were in memory and were parked behind an earlier row of their
    /// key.
    pub const fn take_parked_behind(&mut self) -> usize {
        std::mem::replace(&mut self.parked_behind, 0)
    }

    /// Takes the topics of parked messages to which no queue is bound, each once until one is.
    pub fn unbound_topics(&mut self) -> Vec<Arc<str>> {
        self.unbound.take_new()
    }

    /// Returns `true` if there are topics that the broker leaves unanswered while it answers
    /// others.
    pub fn has_unresponsive(&self) -> bool {
        self.sending.has_unresponsive()
    }

    /// Takes up to `max` messages to publish, oldest first. A suspect message goes alone, and
    /// isolated topics have separate batches.
    pub fn next_batch(&mut self, max: usize) -> Batch<M> {
        self.sending.next_batch(max)
    }

    /// Returns `true` if a batch, just handed out, holds messages of one isolated topic only.
    pub fn is_isolated(&self, batch: &Batch<M>) -> bool {
        self.sending.is_isolated(batch)
    }

    /// Records what a parked row holds back; called for the parked rows found when a session
    /// begins.
    pub fn hold(&mut self, key: &Arc<str>, topic: &Arc<str>, hold: Hold) {
        self.keys.state(key).hold(topic, hold);
    }

    /// Starts a retry scan of a key, since one of its parked rows is due.
    pub fn retry_key(&mut self, key: &Arc<str>) {
        self.keys.start_scan(key);
    }

    /// Returns the next request for a key's parked rows, if one can be made now.
    pub fn next_key_request(&mut self) -> Option<KeyRequest> {
        self.keys.next_request()
    }

    /// Returns how far the frames are settled.
    pub fn progress(&mut self) -> Progress {
        self.window.progress()
    }

    /// Returns `true` if there is something to record besides the progress.
    pub fn has_records(&self) -> bool {
        self.parking.has_writes(self.window.passed())
    }

    /// Takes all pending writes. They must be recorded together with the [`Machine::progress`] of
    /// the same moment: the watermark passes parked rows because they are written with it.
    pub fn take_writes(&mut self) -> PendingWrites {
        self.parking.take_writes(self.window.passed())
    }

    /// Records that a write is durable, except for its parked rows that another transaction had
    /// `locked`. Their records are written again, until they succeed.
    pub fn written(&mut self, write: &PendingWrites, locked: &[Position]) {
        self.parking.written(write, locked);
        // A key is not read while one of its rows is locked: the table still shows the row as it
        // was.
        let done = write.keys();
        for (_, key) in done.filter(|(position, _)| !locked.contains(position)) {
            self.keys.written(key);
        }
    }
}
