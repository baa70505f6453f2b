//! The write-ahead log, as far as a crash can tell.

use relay::capture::Position;

/// A record of the log. Having an id assigned leaves none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// A position was handed out and a row written there.
    Row { xid: u64, position: Position },
    /// A writer committed.
    Commit { xid: u64, writer: usize },
    /// A transaction rolled back.
    Abort { xid: u64 },
}

/// What is on disk, and what is not yet.
///
/// Of what is flushed only the highest transaction id and position matter after a crash: they
/// tell which are handed out next.
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

    /// Number of records that a crash can take back.
    pub(crate) const fn unflushed(&self) -> usize {
        self.tail.len()
    }

    /// Whether a crash can take back that a writer committed.
    pub(crate) fn may_forget_commit_of(&self, writer: usize) -> bool {
        let is_its =
            |entry: &Entry| matches!(entry, Entry::Commit { writer: w, .. } if *w == writer);
        self.tail.iter().any(is_its)
    }

    pub(crate) fn flush(&mut self) {
        self.keep(self.tail.len());
    }

    /// A transaction that left a flushed record: its commit flushes all that was written before.
    pub(crate) fn flush_commit(&mut self, xid: u64) {
        self.flush();
        self.highest_xid = self.highest_xid.max(xid);
    }

    /// Keeps the first records of those not flushed, and takes back the others. Returns the
    /// writers whose commits are lost.
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
