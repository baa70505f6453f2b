//! The outbox, the relay's shell, and the broker, around one machine after another.

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

/// A stuck queue may answer for none.
const ROUNDS_OF_A_STOP: usize = 300;

/// How far the outbox has been read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) frame: usize,
    pub(super) opened: bool,
    /// Rows up to here were read.
    pub(super) after: Position,
    pub(super) already_parked: HashSet<Position>,
}

/// What the last committed checkpoint says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checkpoint {
    /// Frames that are done.
    pub(super) finished: usize,
    /// Of the frame after them.
    pub(super) watermark: Position,
}

/// A write on its way.
#[derive(Debug, Default)]
pub(super) enum Recording {
    #[default]
    None,
    Sent(PendingWrites, Progress),
    /// With the rows that were locked.
    Durable(PendingWrites, Vec<Position>),
}

/// A page that was read and has not been handed over.
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
    /// Parked rows that somebody has locked.
    pub(super) locked: BTreeSet<Position>,
    pub(super) outbox: BTreeMap<Position, Message>,
    /// Transactions that are open, by the key that they have locked.
    pub(super) open: BTreeMap<Option<Arc<str>>, Vec<Position>>,
    /// Rows that no frame holds yet.
    pub(super) committed: Vec<Position>,
    pub(super) frames: Vec<Vec<Position>>,
    /// The relay has been told to stop.
    pub(super) stopping: bool,
    pub(super) reader: Reader,
    pub(super) checkpoint: Checkpoint,
    pub(super) recording: Recording,
    pub(super) flying: Vec<Vec<Position>>,
    pub(super) pages: Vec<Page>,
    pub(super) polled: Option<Vec<Parked>>,
    pub(super) confirmed: BTreeSet<Position>,
    /// Those that this relay saw confirmed, and whether they were parked before.
    pub(super) seen_confirmed: BTreeMap<Position, bool>,
    /// Dropped by a policy, or given up by an operator.
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
            flying: Vec::new(),
            pages: Vec::new(),
            polled: None,
            confirmed: BTreeSet::new(),
            seen_confirmed: BTreeMap::new(),
            dropped: BTreeSet::new(),
            rejected: BTreeSet::new(),
        }
    }

    /// Writes a row. Writers of one key follow one another: it joins what its key has open.
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

    /// Takes a snapshot: what was committed since the last becomes a frame.
    pub(super) fn capture(&mut self) {
        let mut frame = std::mem::take(&mut self.committed);
        if !frame.is_empty() {
            frame.sort_unstable();
            self.frames.push(frame);
        }
    }

    /// Hands one more row to the machine, opening and closing frames on the way.
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

    /// The relay is told to stop.
    pub(super) fn wind_down(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.machine.wind_down();
        }
    }

    /// The relay ends in order, and another takes over.
    pub(super) fn stop(&mut self, merge: bool) {
        self.wind_down();
        while !self.pages.is_empty() {
            self.answer(0);
        }
        let mut rounds = 0..ROUNDS_OF_A_STOP;
        let over = rounds.any(|_| {
            self.publish(4);
            self.settle(0, None);
            self.record();
            self.machine.in_flight() == 0 && !self.machine.has_ready()
        });
        assert!(
            over || self.broker.has_unresponsive(),
            "it does not end: {self:#?}"
        );
        (0..6).for_each(|_| self.record());
        if over {
            self.check_nothing_repeats();
        }
        self.crash(0, merge);
    }

    /// The relay dies, and another takes over from what is committed.
    pub(super) fn crash(&mut self, reached: u8, merge: bool) {
        for batch in std::mem::take(&mut self.flying) {
            self.broker.take(&self.messages(&batch), Some(reached));
        }
        (self.pages, self.polled) = (Vec::new(), None);
        self.recording = Recording::None;
        self.stopping = false;
        self.seen_confirmed.clear();
        self.machine = Machine::new(self.settings.clone());
        // The snapshot of the unfinished frame is recorded; later ones are taken anew.
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
