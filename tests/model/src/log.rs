//! The model of the write-ahead log, as far as a crash depends on it.

use relay_core::capture::Position;

/// A record of the log. Assigning an id writes no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// A position was allocated and a row written there.
    Row { xid: u64, position: Position },
    /// A writer committed.
    Commit { xid: u64, writer: usize },
    /// A transaction rolled back.
    Abort { xid: u64 },
}

/// The flushed and the unflushed part of the log.
///
/// Of the flushed part only the highest transaction id and position matter after a crash: they determine
/// the next id and position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    pub(crate) highest_xid: u64,
    pub(crate) highest_position: Position,
    tail: Vec<Entry>,
}

impl Log {
    pub(crate) const fn new(highest_xid: u64) -> Self {
        Self {
            highest_xid,
            highest_position: 0,
            tail: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, entry: Entry) {
        self.tail.push(entry);
    }

    /// Returns the number of records that a crash can lose.
    pub(crate) const fn unflushed(&self) -> usize {
        self.tail.len()
    }

    /// Returns `true` if a crash can lose a writer's commit.
    pub(crate) fn may_lose_commit_of(&self, writer: usize) -> bool {
        let is_commit =
            |entry: &Entry| matches!(entry, Entry::Commit { writer: w, .. } if *w == writer);
        self.tail.iter().any(is_commit)
    }

    pub(crate) fn flush(&mut self) {
        self.keep(self.tail.len());
    }

    /// Records the commit of a transaction, which flushes all records before it.
    pub(crate) fn flush_commit(&mut self, xid: u64) {
        self.flush();
        self.highest_xid = self.highest_xid.max(xid);
    }

    /// Keeps the first `kept` unflushed records and loses the others. Returns the writers whose commits are
    /// lost.
    pub(crate) fn crash(&mut self, kept: usize) -> Vec<usize> {
        let lost = self.tail.split_off(kept);
        self.keep(kept);
        let writer = |entry| match entry {
            Entry::Commit { writer, .. } => Some(writer),
            Entry::Row { .. } | Entry::Abort { .. } => None,
        };
        lost.into_iter().filter_map(writer).collect()
    }

    fn keep(&mut self, count: usize) {
        for entry in self.tail.drain(..count) {
            let (Entry::Row { xid, .. } | Entry::Commit { xid, .. } | Entry::Abort { xid }) = entry;
            self.highest_xid = self.highest_xid.max(xid);
            if let Entry::Row { position, .. } = entry {
                self.highest_position = self.highest_position.max(position);
            }
        }
    }
}
