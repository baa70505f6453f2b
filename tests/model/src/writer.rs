//! The model of a producer's transaction.

use relay_core::capture::Position;

use crate::scenario::Producer;

/// A message: the number of its producer, and the index among that producer's messages.
pub(crate) type MessageId = (usize, usize);

/// Stage of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Not begun, or under way.
    Open,
    /// The commit is in the log. It is invisible yet, and the transaction still holds its lock.
    Logged,
    /// The commit is visible.
    Committed,
    /// Rolled back, by its producer or by a crash.
    RolledBack,
}

/// A transaction that publishes messages of one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    pub(crate) key: u8,
    /// Number of rows written before the commit.
    pub(crate) size: usize,
    /// `true` if the key's lock is taken first. The only writer of a key would never wait for it.
    needs_lock: bool,
    pub(crate) stage: Stage,
    pub(crate) xid: Option<u64>,
    /// `true` while the transaction holds the key's lock, until it ends.
    pub(crate) locked: bool,
    pub(crate) rows: Vec<Position>,
    /// Number of transactions of the key committed earlier. Kept if a crash undoes the commit; `None`
    /// before the commit.
    pub(crate) order: Option<usize>,
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
            order: None,
        }
    }

    pub(crate) const fn has_begun(&self) -> bool {
        self.xid.is_some() || self.locked
    }

    /// Returns `true` if a snapshot finds the transaction running.
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

    /// Undoes the transaction. Its id is kept, to recognise the id when another transaction gets it.
    pub(crate) fn roll_back(&mut self) {
        self.stage = Stage::RolledBack;
        self.locked = false;
        self.rows.clear();
    }
}
