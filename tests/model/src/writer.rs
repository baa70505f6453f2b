//! A producer's transaction.

use relay::capture::Position;

use crate::scenario::Producer;

/// A message: the number of its producer, and its own among that producer's.
pub(crate) type MessageId = (usize, usize);

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Not begun, or under way.
    Open,
    /// Its commit is in the log. Nobody sees it yet, and it still holds its lock.
    Logged,
    /// Everybody sees it.
    Committed,
    /// Rolled back, by its producer or by a crash.
    RolledBack,
}

/// A transaction that publishes messages of one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    pub(crate) key: u8,
    /// Number of rows that it writes before it commits.
    pub(crate) size: usize,
    /// Whether it takes its key's lock first. The only writer of a key would never wait for it.
    needs_lock: bool,
    pub(crate) stage: Stage,
    pub(crate) xid: Option<u64>,
    /// Whether it took the key's lock; held until it ends.
    pub(crate) locked: bool,
    pub(crate) rows: Vec<Position>,
    /// How many transactions of its key were committed before it. Kept if a crash takes the
    /// commit back.
    pub(crate) place: Option<usize>,
}

impl Writer {
    pub(crate) fn new(producer: &Producer, producers: &[Producer]) -> Self {
        let of_key = producers.iter().filter(|other| other.key == producer.key);
        Self {
            key: producer.key,
            size: producer.rows,
            needs_lock: of_key.count() > 1,
            stage: Stage::Open,
            xid: None,
            locked: false,
            rows: Vec::new(),
            place: None,
        }
    }

    pub(crate) const fn has_begun(&self) -> bool {
        self.xid.is_some() || self.locked
    }

    /// Whether its id is among those that a snapshot finds running.
    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Logged)
    }

    pub(crate) const fn is_committed(&self) -> bool {
        matches!(self.stage, Stage::Committed)
    }

    pub(crate) const fn can_lock(&self) -> bool {
        self.needs_lock && !self.locked
    }

    pub(crate) const fn holds_lock(&self) -> bool {
        self.locked && self.is_running()
    }

    pub(crate) const fn can_write(&self) -> bool {
        matches!(self.stage, Stage::Open)
            && self.xid.is_some()
            && !self.can_lock()
            && self.rows.len() < self.size
    }

    pub(crate) const fn can_commit(&self) -> bool {
        matches!(self.stage, Stage::Open) && self.rows.len() == self.size
    }

    /// Takes back whatever it did. Its id is kept, to tell when another transaction gets it.
    pub(crate) fn roll_back(&mut self) {
        self.stage = Stage::RolledBack;
        self.locked = false;
        self.rows.clear();
    }
}
