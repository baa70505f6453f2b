//! State of the publishing machine, and what it reports.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{
    Backoff, FrameId, PendingWrites, Progress, Row, TopicPatterns,
    frame_window::FrameWindow,
    isolation::IsolatedTopics,
    key::{Entry, KeyState, Origin},
    unbound::Unbound,
};
use crate::capture::Position;

/// Room for parked rows beyond the window, in rows and in bytes.
const PARKED_ROWS: usize = 500;
const PARKED_BYTES: usize = 2 << 20;

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

/// Messages to publish together.
pub type Batch<M> = Vec<Arc<Row<M>>>;

/// Decides which rows are published or parked, and how far the watermark may go.
#[derive(Debug)]
pub struct Machine<M> {
    pub(super) settings: Settings,
    pub(super) windows: VecDeque<FrameWindow>,
    pub(super) finished: Option<FrameId>,
    /// Uses a fast hash function without protection against chosen keys: keys are the service's
    /// own.
    pub(super) keys: HashMap<Arc<str>, KeyState<M>, RandomState>,
    pub(super) ready: BTreeMap<Position, Entry<M>>,
    pub(super) in_flight: HashMap<Position, Entry<M>, RandomState>,
    /// The suspect row in flight, which is sent alone.
    pub(super) suspect: Option<Position>,
    pub(super) isolation: IsolatedTopics,
    pub(super) unbound: Unbound,
    /// `true` if messages of unresponsive topics may be ready.
    pub(super) unresponsive_ready: bool,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// Rows of frames still to be read that an earlier session parked.
    pub(super) already_parked: HashSet<Position>,
    /// Parked rows that are in memory, or whose outcome is not written yet.
    pub(super) parked_in_progress: HashSet<Position>,
    /// Keys whose parked rows are to be requested.
    pub(super) wanted_keys: VecDeque<Arc<str>>,
    /// Number of rows parked behind an earlier row of their key, since the last report.
    pub(super) parked_behind: usize,
    pub(super) writes: PendingWrites,
    /// Parked rows that were dropped, each with the last frame opened by then.
    pub(super) dropped: VecDeque<(FrameId, Position)>,
}

impl<M> Machine<M> {
    /// Makes an empty machine.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            windows: VecDeque::new(),
            finished: None,
            keys: HashMap::default(),
            ready: BTreeMap::new(),
            in_flight: HashMap::default(),
            suspect: None,
            isolation: IsolatedTopics::default(),
            unbound: Unbound::default(),
            unresponsive_ready: false,
            rows: 0,
            bytes: 0,
            already_parked: HashSet::new(),
            parked_in_progress: HashSet::new(),
            wanted_keys: VecDeque::new(),
            parked_behind: 0,
            writes: PendingWrites::default(),
            dropped: VecDeque::new(),
        }
    }

    /// Returns `true` if more rows of frames may be admitted.
    pub fn has_room(&self) -> bool {
        self.rows < self.settings.window_rows
            && self.bytes < self.settings.window_bytes
            && self.windows.iter().map(FrameWindow::span).sum::<usize>() < self.settings.span
    }

    /// Returns `true` if more parked rows may be taken. They have room beyond the window: as long
    /// as rows wait in the outbox, frames fill every gap, and parked rows would wait for all of
    /// them.
    pub const fn has_room_for_parked(&self) -> bool {
        self.rows < self.settings.window_rows.saturating_add(PARKED_ROWS)
            && self.bytes < self.settings.window_bytes.saturating_add(PARKED_BYTES)
    }

    /// Number of rows in memory.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Positions of parked rows that are in memory, or whose outcome is not written yet.
    pub const fn parked_in_progress(&self) -> &HashSet<Position> {
        &self.parked_in_progress
    }

    /// Number of parked rows that are dropped but cannot be forgotten yet.
    pub fn dropped(&self) -> usize {
        self.dropped.len()
    }

    /// Number of rows that have been handed out and not settled.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns `true` if no row is in memory and nothing is left to record.
    pub fn is_idle(&self) -> bool {
        self.rows == 0 && self.writes.is_empty() && self.dropped.is_empty()
    }

    /// Returns the least value of `of` over the messages in memory that were not parked. Only
    /// messages that are ready or in flight are compared: each is the first of its key.
    pub fn min_by<T: Ord>(&self, of: impl Fn(&M) -> T) -> Option<T> {
        let first = self.ready.values().chain(self.in_flight.values());
        let first = first.filter(|entry| matches!(entry.origin, Origin::Frame(_)));
        first.map(|entry| of(&entry.row.message)).min()
    }

    /// Number of keys that parked rows hold back, wholly or for some topics.
    pub fn held_keys(&self) -> usize {
        self.keys
            .values()
            .filter(|state| !state.holds.is_empty())
            .count()
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

    /// Returns how far the frames are settled.
    pub fn progress(&mut self) -> Progress {
        while self.windows.front().is_some_and(FrameWindow::is_finished) {
            self.finished = self.windows.pop_front().map(|window| window.id);
        }
        Progress {
            finished: self.finished,
            current: self.windows.front().map(|window| window.id),
            watermark: self.windows.front().and_then(FrameWindow::watermark),
        }
    }

    /// Returns `true` if there is something to record besides the progress.
    pub fn has_records(&self) -> bool {
        !self.writes.is_empty() || self.may_forget_dropped()
    }

    /// Returns `true` if the oldest dropped row may be forgotten.
    fn may_forget_dropped(&self) -> bool {
        let first = self.dropped.front();
        first.is_some_and(|(frame, _)| self.finished >= Some(*frame))
    }

    /// Takes all pending writes. They must be recorded together with the [`Machine::progress`] of
    /// the same moment: the watermark passes parked rows because they are written with it.
    pub fn take_writes(&mut self) -> PendingWrites {
        while self.may_forget_dropped() {
            let position = self.dropped.pop_front().map(|(_, position)| position);
            self.writes.forgets.extend(position);
        }
        std::mem::take(&mut self.writes)
    }

    /// Forgets a parked row that was dropped, perhaps by an operator, once every frame that may
    /// hold the row is finished: read again after a crash, such a frame would bring the row back as
    /// it was.
    pub(super) fn forget_dropped(&mut self, position: Position) {
        match self.windows.back() {
            Some(window) => self.dropped.push_back((window.id, position)),
            None => self.writes.forgets.push(position),
        }
    }

    /// Records that a write is durable, except for its parked rows that another transaction had
    /// `locked`. Their records are written again, until they succeed.
    pub fn written(&mut self, write: &PendingWrites, locked: &[Position]) {
        for position in write.parked_positions() {
            if !locked.contains(&position) {
                self.parked_in_progress.remove(&position);
            }
        }
        if !locked.is_empty() {
            self.writes.add_locked(write, locked);
        }
        // A key is not read while one of its rows is locked: the table still shows the row as it
        // was.
        let done = write.keys.iter();
        for (_, key) in done.filter(|(position, _)| !locked.contains(position)) {
            if let Some(state) = self.keys.get_mut(key) {
                state.unwritten -= 1;
            }
            self.forget_idle(key);
        }
    }

    pub(super) fn key(&mut self, key: &Arc<str>) -> &mut KeyState<M> {
        self.keys
            .entry(Arc::clone(key))
            .or_insert_with(KeyState::new)
    }

    /// Forgets a key without state; returns `true` if it did.
    pub(super) fn forget_idle(&mut self, key: &Arc<str>) -> bool {
        let idle = self.keys.get(key).is_some_and(KeyState::is_idle);
        if idle {
            self.keys.remove(key);
        }
        idle
    }

    /// Removes a row from memory; the watermark may pass it.
    pub(super) fn release(&mut self, entry: &Entry<M>) {
        self.rows -= 1;
        self.bytes -= entry.row.bytes;
        if let Origin::Frame(frame) = entry.origin {
            self.pass_watermark(frame, entry.row.position);
        }
    }

    /// Marks a row of a frame as settled, so that the watermark may pass it.
    pub(super) fn pass_watermark(&mut self, frame: FrameId, position: Position) {
        if let Some(window) = self.windows.iter_mut().find(|window| window.id == frame) {
            window.settle(position);
        }
    }
}
