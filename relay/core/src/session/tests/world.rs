//! Simulated world: the outbox, the relay's tasks and the broker around one core after another.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    broker::Broker,
    message::Message,
    table::{Parked, Table},
};
use crate::{
    capture::{Position, Snapshot},
    checkpoint::Checkpoint,
    identity::Identity,
    publish::{FrameId, KeyRequest, Machine, PendingWrites, Settings},
    session::{
        Core, Event, Limits,
        frame_reader::{self, Opened},
    },
};

/// Number of channels of a connection.
const CHANNELS: usize = 3;

/// Progress of reading the outbox.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) frame: usize,
    pub(super) opened: bool,
    /// Rows up to here were read.
    pub(super) after: Position,
}

/// A record on its way to the database.
#[derive(Debug, Default)]
pub(super) enum Recording {
    #[default]
    None,
    Sent(Box<Checkpoint>, PendingWrites),
    /// Committed, except for these locked rows.
    Durable(PendingWrites, Vec<Position>),
}

/// A page of a key's parked rows that the core has requested.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) request: KeyRequest,
    /// The rows, once read, and `true` if the page is full.
    pub(super) read: Option<(Vec<Parked>, bool)>,
}

/// A poll for parked rows that are due.
#[derive(Debug)]
pub(super) enum Poll {
    /// The core has asked for rows that are not in progress.
    Asked(HashSet<Position>),
    Read(Vec<Parked>),
}

/// State of the connection to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Lost,
    /// The broker takes no messages.
    Blocked,
    Ready,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) page_rows: usize,
    began: Instant,
    /// Time since the beginning, in milliseconds.
    pub(super) now: u64,
    /// Time since the lease was last proven.
    pub(super) lease_age: Duration,
    pub(super) core: Core<Position>,
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
    /// Rows that a crash of the database can no longer take back.
    pub(super) durable: BTreeSet<Position>,
    /// `true` once a graceful stop has begun.
    pub(super) stopping: bool,
    pub(super) reader: Reader,
    /// The last committed checkpoint.
    pub(super) checkpoint: Checkpoint,
    last_xid: u64,
    pub(super) recording: Recording,
    /// `true` if the last record left out locked rows: a stop does not wait for their records.
    pub(super) left_locked: bool,
    /// Batches in flight, each with its channel.
    pub(super) batches: Vec<(usize, Vec<Position>)>,
    pub(super) link: Link,
    pub(super) pages: Vec<Page>,
    pub(super) poll: Option<Poll>,
    pub(super) confirmed: BTreeSet<Position>,
    /// Rows that this relay saw confirmed, and `true` if they were parked before.
    pub(super) seen_confirmed: BTreeMap<Position, bool>,
    /// Rows dropped by a policy or discarded by an operator.
    pub(super) dropped: BTreeSet<Position>,
    pub(super) rejected: BTreeSet<Position>,
}

impl World {
    pub(super) fn new(
        settings: Settings,
        limits: Limits,
        page_rows: usize,
        broker: Broker,
    ) -> Self {
        let checkpoint = Checkpoint::beginning(Identity {
            system_identifier: 1,
            database_oid: 2,
            timeline: 3,
        });
        let (machine, began) = (Machine::new(settings.clone()), Instant::now());
        let core = Core::new(limits, machine, checkpoint.clone(), HashSet::new(), began);
        let mut world = Self {
            settings,
            limits,
            page_rows,
            began,
            now: 0,
            lease_age: Duration::ZERO,
            core,
            broker,
            table: Table::default(),
            locked: BTreeSet::new(),
            outbox: BTreeMap::new(),
            open: BTreeMap::new(),
            committed: Vec::new(),
            frames: Vec::new(),
            durable: BTreeSet::new(),
            stopping: false,
            reader: Reader::default(),
            checkpoint,
            last_xid: 1_000,
            recording: Recording::None,
            left_locked: false,
            batches: Vec::new(),
            link: Link::Lost,
            pages: Vec::new(),
            poll: None,
            confirmed: BTreeSet::new(),
            seen_confirmed: BTreeMap::new(),
            dropped: BTreeSet::new(),
            rejected: BTreeSet::new(),
        };
        world.connect();
        world
    }

    pub(super) fn time(&self) -> Instant {
        self.began + Duration::from_millis(self.now)
    }

    pub(super) const fn next_xid(&mut self) -> u64 {
        self.last_xid += 1;
        self.last_xid
    }

    /// Number of frames that the checkpoint records as finished.
    pub(super) fn finished(&self) -> usize {
        self.checkpoint.delivered.xmax() as usize - 1
    }

    /// Watermark of the frame after them, as recorded.
    pub(super) fn watermark(&self) -> Position {
        let unfinished = self.checkpoint.unfinished.as_ref();
        unfinished.map_or(0, |frame| frame.watermark)
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
    pub(super) fn capture(&mut self, durable: bool) {
        let mut frame = std::mem::take(&mut self.committed);
        if !frame.is_empty() {
            frame.sort_unstable();
            self.frames.push(frame);
        }
        if durable {
            self.flush();
        }
    }

    /// Makes all rows durable that a snapshot has seen.
    pub(super) fn flush(&mut self) {
        self.durable.extend(self.frames.iter().flatten());
    }

    /// Brings the next event of the reader to the core, if the core takes one.
    pub(super) fn read(&mut self) {
        if !self.core.wants_rows() || self.reader.frame == self.frames.len() {
            return;
        }
        assert!(!self.stopping, "a stop reads no more rows");
        let (frame, after) = (self.reader.frame as FrameId, self.reader.after);
        let rows = &self.frames[self.reader.frame];
        let next = rows.iter().copied().find(|&position| position > after);
        let event = if !std::mem::replace(&mut self.reader.opened, true) {
            frame_reader::Event::Opened(Opened {
                id: frame,
                walk: false,
                to: Snapshot::before(frame + 2),
                upper: rows.last().copied().unwrap_or(0),
                done: after,
                durable: rows.iter().all(|row| self.durable.contains(row)),
            })
        } else if let Some(position) = next {
            self.reader.after = position;
            let rows = vec![self.outbox[&position].row(self.now)];
            frame_reader::Event::Rows { frame, rows }
        } else {
            self.reader = Reader {
                frame: self.reader.frame + 1,
                ..Reader::default()
            };
            frame_reader::Event::Closed { frame }
        };
        self.handle(Event::Reader(event));
        self.check_bounds();
    }

    /// Connects to the broker.
    pub(super) fn connect(&mut self) {
        self.link = Link::Ready;
        self.handle(Event::Blocked(false));
        self.handle(Event::Channels(CHANNELS));
    }

    pub(super) fn messages(&self, batch: &[Position]) -> Vec<Message> {
        batch.iter().map(|row| self.outbox[row].clone()).collect()
    }
}
