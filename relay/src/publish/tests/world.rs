//! Simulated world: the outbox, the relay and the broker around one machine after another.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use super::{
    broker::Broker,
    message::Message,
    table::{Parked, Table},
};
use crate::{
    capture::Position,
    publish::{FrameId, KeyRequest, Machine, PendingWrites, Progress, Settings},
};

/// Rounds within which a graceful stop must end, unless a queue is silent.
const ROUNDS_OF_A_STOP: usize = 300;

/// Progress of reading the outbox.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) frame: usize,
    pub(super) opened: bool,
    /// Rows up to here were read.
    pub(super) after: Position,
    pub(super) already_parked: HashSet<Position>,
}

/// The last committed checkpoint.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checkpoint {
    /// Number of frames that are finished.
    pub(super) finished: usize,
    /// Watermark of the frame after them.
    pub(super) watermark: Position,
}

/// A write on its way to the table.
#[derive(Debug, Default)]
pub(super) enum Recording {
    #[default]
    None,
    Sent(PendingWrites, Progress),
    /// Committed, except for these locked rows.
    Durable(PendingWrites, Vec<Position>),
}

/// A page that was read and has not been handed to the machine.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) request: KeyRequest,
    pub(super) rows: Vec<Parked>,
    pub(super) full: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) page_rows: usize,
    pub(super) now: u64,
    pub(super) machine: Machine<Position>,
    pub(super) broker: Broker,
    pub(super) table: Table,
    /// Parked rows that another transaction has locked.
    pub(super) locked: BTreeSet<Position>,
    pub(super) outbox: BTreeMap<Position, Message>,
    /// Rows of open transactions, by the key that the transaction has locked.
    pub(super) open: BTreeMap<Option<Arc<str>>, Vec<Position>>,
    /// Committed rows that no frame holds yet.
    pub(super) committed: Vec<Position>,
    pub(super) frames: Vec<Vec<Position>>,
    /// `true` once a graceful stop has begun: the relay reads nothing more.
    pub(super) stopping: bool,
    pub(super) reader: Reader,
    pub(super) checkpoint: Checkpoint,
    pub(super) recording: Recording,
    /// Batches in flight.
    pub(super) batches: Vec<Vec<Position>>,
    pub(super) pages: Vec<Page>,
    pub(super) polled: Option<Vec<Parked>>,
    pub(super) confirmed: BTreeSet<Position>,
    /// Rows that this relay saw confirmed, and `true` if they were parked before.
    pub(super) seen_confirmed: BTreeMap<Position, bool>,
    /// Rows dropped by a policy or discarded by an operator.
    pub(super) dropped: BTreeSet<Position>,
    pub(super) rejected: BTreeSet<Position>,
}

impl World {
    pub(super) fn new(settings: Settings, page_rows: usize, broker: Broker) -> Self {
        Self {
            settings: settings.clone(),
            page_rows,
            now: 0,
            machine: Machine::new(settings),
            broker,
            table: Table::default(),
            locked: BTreeSet::new(),
            outbox: BTreeMap::new(),
            open: BTreeMap::new(),
            committed: Vec::new(),
            frames: Vec::new(),
            stopping: false,
            reader: Reader::default(),
            checkpoint: Checkpoint::default(),
            recording: Recording::None,
            batches: Vec::new(),
            pages: Vec::new(),
            polled: None,
            confirmed: BTreeSet::new(),
            seen_confirmed: BTreeMap::new(),
            dropped: BTreeSet::new(),
            rejected: BTreeSet::new(),
        }
    }

    /// Writes a row. Writers of one key follow one another: the row joins the key's open
    /// transaction.
    pub(super) fn write(&mut self, message: Message, stay_open: bool) {
        let (position, key) = (message.position, message.key.clone());
        self.outbox.insert(position, message);
        self.open.entry(key.clone()).or_default().push(position);
        if !stay_open {
            self.commit(key.as_ref());
        }
    }

    pub(super) fn commit(&mut self, key: Option<&Arc<str>>) {
        self.committed
            .extend(self.open.remove(&key.cloned()).unwrap_or_default());
    }

    /// Takes a snapshot: rows committed since the last one become a frame.
    pub(super) fn capture(&mut self) {
        let mut frame = std::mem::take(&mut self.committed);
        if !frame.is_empty() {
            frame.sort_unstable();
            self.frames.push(frame);
        }
    }

    /// Hands one more row to the machine, and opens and closes frames on the way.
    pub(super) fn read(&mut self) {
        if self.stopping || !self.machine.has_room() || self.reader.frame == self.frames.len() {
            return;
        }
        let id = self.reader.frame as FrameId;
        if !self.reader.opened {
            let already_parked = std::mem::take(&mut self.reader.already_parked);
            self.machine.open_frame(id, already_parked);
            self.reader.opened = true;
        }
        let after = self.reader.after;
        let rows = &self.frames[self.reader.frame];
        if let Some(&position) = rows.iter().find(|&&position| position > after) {
            self.machine.admit(id, self.outbox[&position].row(self.now));
            self.reader.after = position;
        } else {
            self.machine.close_frame(id);
            self.reader = Reader {
                frame: self.reader.frame + 1,
                ..Reader::default()
            };
        }
        self.check_bounds();
    }

    /// Stops the relay gracefully, with time for everything; another takes over.
    pub(super) fn stop(&mut self, merge: bool) {
        let complete = self.drain(ROUNDS_OF_A_STOP);
        assert!(
            complete || self.broker.has_silent_queue(),
            "the stop does not end: {self:#?}"
        );
        self.crash(0, merge);
    }

    /// Stops the relay gracefully after `rounds` at most; another takes over.
    pub(super) fn stop_within(&mut self, rounds: usize, merge: bool) {
        self.drain(rounds);
        self.crash(0, merge);
    }

    /// Goes on with the rows in memory and reads nothing more. Returns `true` if all rows were
    /// settled and recorded within so many rounds.
    fn drain(&mut self, rounds: usize) -> bool {
        self.stopping = true;
        while !self.pages.is_empty() {
            self.answer(0);
        }
        let complete = (0..rounds).any(|_| {
            self.publish(4);
            self.settle(0, None);
            self.record();
            self.machine.in_flight() == 0 && !self.machine.has_ready()
        });
        if complete {
            (0..6).for_each(|_| self.record());
            assert_eq!(self.machine.rows(), 0);
            self.check_nothing_repeats();
        }
        complete
    }

    /// Ends the relay at once; another takes over from the committed checkpoint.
    pub(super) fn crash(&mut self, reached: u8, merge: bool) {
        for batch in std::mem::take(&mut self.batches) {
            self.broker.take(&self.messages(&batch), Some(reached));
        }
        (self.pages, self.polled) = (Vec::new(), None);
        self.recording = Recording::None;
        self.stopping = false;
        self.seen_confirmed.clear();
        self.machine = Machine::new(self.settings.clone());
        // The snapshot of the unfinished frame is recorded; later snapshots are taken anew.
        let unfinished = self.checkpoint.finished + 1;
        if merge && self.frames.len() > unfinished {
            let mut later: Vec<Position> = self.frames.drain(unfinished..).flatten().collect();
            later.sort_unstable();
            self.frames.push(later);
        }
        let watermark = self.checkpoint.watermark;
        let above = |position: &&Position| **position > watermark;
        self.reader = Reader {
            frame: self.checkpoint.finished,
            opened: false,
            after: watermark,
            already_parked: self.table.rows.keys().filter(above).copied().collect(),
        };
        let held = self.table.held();
        for held in &held {
            self.machine.hold(&held.key, &held.topic, held.hold);
        }
        for held in held.iter().filter(|held| held.orphaned) {
            self.machine.retry_key(&held.key);
        }
    }

    pub(super) fn messages(&self, batch: &[Position]) -> Vec<Message> {
        batch.iter().map(|row| self.outbox[row].clone()).collect()
    }
}
