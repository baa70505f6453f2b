//! The state machine's state, and what it reports.

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
    scope::WindDown,
    unbound::Unbound,
};
use crate::capture::Position;

/// Room for parked rows beyond the window.
const PARKED_ROWS: usize = 500;
const PARKED_BYTES: usize = 2 << 20;

/// Bounds of the machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most rows in memory; those of one page more may be admitted.
    pub window_rows: usize,
    /// Most bytes of messages in memory; one page more may be admitted.
    pub window_bytes: usize,
    /// Most rows of one key in memory; what comes above is parked behind them.
    pub key_rows: usize,
    /// Most rows above the watermark of a frame.
    pub span: usize,
    /// Most batches in flight together that hold topics in doubt: others must find a channel.
    pub isolated_batches: usize,
    /// Waits between attempts of parked rows.
    pub backoff: Backoff,
    /// Drops what no queue takes, by topic, instead of parking it.
    pub drop_unroutable: TopicPatterns,
}

/// Messages to publish together.
pub type Batch<M> = Vec<Arc<Row<M>>>;

/// Decides what is published, parked and passed by the watermark.
#[derive(Debug)]
pub struct Machine<M> {
    pub(super) settings: Settings,
    pub(super) windows: VecDeque<FrameWindow>,
    pub(super) finished: Option<FrameId>,
    /// Hashed fast rather than safe from strangers: keys are the service's own.
    pub(super) keys: HashMap<Arc<str>, KeyState<M>, RandomState>,
    pub(super) ready: BTreeMap<Position, Entry<M>>,
    pub(super) in_flight: HashMap<Position, Entry<M>, RandomState>,
    /// The row in flight that is under suspicion, and alone.
    pub(super) suspect: Option<Position>,
    pub(super) isolation: IsolatedTopics,
    /// A graceful stop is under way.
    pub(super) winding_down: Option<WindDown>,
    pub(super) unbound: Unbound,
    /// Messages of stuck topics may be ready.
    pub(super) unresponsive_ready: bool,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// Rows of frames to come that an earlier session parked.
    pub(super) already_parked: HashSet<Position>,
    /// Parked rows that are in memory, or whose fate is not written yet.
    pub(super) parked_in_hand: HashSet<Position>,
    pub(super) wanted_keys: VecDeque<Arc<str>>,
    /// Rows that were parked since somebody asked, because one before them of their key was.
    pub(super) parked_behind: usize,
    pub(super) writes: PendingWrites,
    /// Parked rows that were dropped, each with the last frame that had been opened by then.
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
            winding_down: None,
            unbound: Unbound::default(),
            unresponsive_ready: false,
            rows: 0,
            bytes: 0,
            already_parked: HashSet::new(),
            parked_in_hand: HashSet::new(),
            wanted_keys: VecDeque::new(),
            parked_behind: 0,
            writes: PendingWrites::default(),
            dropped: VecDeque::new(),
        }
    }

    /// Whether more rows may be admitted.
    pub fn has_room(&self) -> bool {
        self.rows < self.settings.window_rows
            && self.bytes < self.settings.window_bytes
            && self.windows.iter().map(FrameWindow::span).sum::<usize>() < self.settings.span
    }

    /// Whether more parked rows may be taken. They find room where rows of frames find none: as long as
    /// those wait in the outbox they fill every gap, and what is parked would wait for all of them.
    pub const fn has_room_for_parked(&self) -> bool {
        self.rows < self.settings.window_rows.saturating_add(PARKED_ROWS)
            && self.bytes < self.settings.window_bytes.saturating_add(PARKED_BYTES)
    }

    /// Rows in memory.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Positions of parked rows that are in memory, or whose fate is not written yet.
    pub const fn parked_in_hand(&self) -> &HashSet<Position> {
        &self.parked_in_hand
    }

    /// Parked rows that are dropped, and cannot be forgotten yet.
    pub fn dropped(&self) -> usize {
        self.dropped.len()
    }

    /// Rows that have been handed out and not settled.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether nothing is in memory and nothing is left to record.
    pub fn is_idle(&self) -> bool {
        self.rows == 0 && self.writes.is_empty() && self.dropped.is_empty()
    }

    /// The least that `of` says of a message in memory that was not parked. Asks those that may go or are
    /// in flight: of each key they are the first.
    pub fn min_by<T: Ord>(&self, of: impl Fn(&M) -> T) -> Option<T> {
        let first = self.ready.values().chain(self.in_flight.values());
        let first = first.filter(|entry| matches!(entry.origin, Origin::Frame(_)));
        first.map(|entry| of(&entry.row.message)).min()
    }

    /// Keys that parked rows hold back, wholly or for some topics.
    pub fn held_keys(&self) -> usize {
        self.keys
            .values()
            .filter(|state| !state.holds.is_empty())
            .count()
    }

    /// Takes the number of rows that were in memory and were parked behind one of their key.
    pub const fn take_parked_behind(&mut self) -> usize {
        std::mem::replace(&mut self.parked_behind, 0)
    }

    /// Takes the topics of parked messages that no queue is bound to, each once until one is.
    pub fn unbound_topics(&mut self) -> Vec<Arc<str>> {
        self.unbound.news()
    }

    /// How far frames are done.
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

    /// Whether there are records besides the progress.
    pub fn has_records(&self) -> bool {
        !self.writes.is_empty() || self.has_dropped()
    }

    /// Whether a dropped row may be forgotten.
    fn has_dropped(&self) -> bool {
        let first = self.dropped.front();
        first.is_some_and(|(frame, _)| self.finished >= Some(*frame))
    }

    /// Takes all records that wait to be written, together with [`Machine::progress`] of the same
    /// moment: the watermark passes parked rows because they are written with it.
    pub fn take_writes(&mut self) -> PendingWrites {
        while self.has_dropped() {
            let position = self.dropped.pop_front().map(|(_, position)| position);
            self.writes.forgets.extend(position);
        }
        std::mem::take(&mut self.writes)
    }

    /// Forgets a parked row that was dropped, which an operator may have wanted. Read again after a crash, its
    /// frame would bring it back as it was: so not before every frame is done that may hold it.
    pub(super) fn forget_dropped(&mut self, position: Position) {
        match self.windows.back() {
            Some(window) => self.dropped.push_back((window.id, position)),
            None => self.writes.forgets.push(position),
        }
    }

    /// Notes that a write is durable, but for what it says of parked rows that somebody has `locked`. That is
    /// to be written again, until it can be.
    pub fn written(&mut self, write: &PendingWrites, locked: &[Position]) {
        for position in write.parked_positions() {
            if !locked.contains(&position) {
                self.parked_in_hand.remove(&position);
            }
        }
        if !locked.is_empty() {
            self.writes.again(write, locked);
        }
        // A key whose row is still as it was must not be read.
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

    /// Forgets a key of which nothing needs to be remembered; returns whether it did.
    pub(super) fn forget_idle(&mut self, key: &Arc<str>) -> bool {
        let idle = self.keys.get(key).is_some_and(KeyState::is_idle);
        if idle {
            self.keys.remove(key);
        }
        idle
    }

    /// Drops a row from memory; the watermark may pass it.
    pub(super) fn release(&mut self, entry: &Entry<M>) {
        self.rows -= 1;
        self.bytes -= entry.row.bytes;
        if let Origin::Frame(frame) = entry.origin {
            self.pass_watermark(frame, entry.row.position);
        }
    }

    /// Lets the watermark of a frame pass a row.
    pub(super) fn pass_watermark(&mut self, frame: FrameId, position: Position) {
        if let Some(window) = self.windows.iter_mut().find(|window| window.id == frame) {
            window.settle(position);
        }
    }
}
