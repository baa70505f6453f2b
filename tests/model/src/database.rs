//! The model of PostgreSQL: transaction ids, the sequence, locks, the log and snapshots.

use relay_core::{
    capture::{Position, Snapshot},
    checkpoint::Checkpoint,
};

use crate::{
    checkpoint::Recording,
    log::{Entry, Log},
    scenario::Scenario,
    writer::{Stage, Writer},
};

/// Number of relays.
pub(crate) const RELAYS: usize = 2;

/// First normal transaction id of PostgreSQL.
const FIRST_XID: u64 = 3;

/// A primary server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    next_xid: u64,
    /// Highest id of a finished transaction. A snapshot's `xmax` is this id plus one, whatever ids have
    /// been assigned since.
    highest_finished: u64,
    pub(crate) last_position: Position,
    pub(crate) log: Log,
    pub(crate) writers: Vec<Writer>,
    /// Relay whose session holds the lease's lock; `None` if no session does.
    pub(crate) holder: Option<usize>,
    /// Checkpoints being recorded, by relay.
    pub(crate) recordings: [Option<Recording>; RELAYS],
    /// The newest checkpoint. Its commit was flushed before it became visible.
    pub(crate) checkpoint: Option<Checkpoint>,
}

impl Database {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let producers = &scenario.producers;
        let writers = producers
            .iter()
            .map(|producer| Writer::new(producer, producers))
            .collect();
        Self {
            next_xid: FIRST_XID,
            highest_finished: FIRST_XID - 1,
            last_position: 0,
            log: Log::new(FIRST_XID - 1),
            writers,
            holder: None,
            recordings: [None, None],
            checkpoint: None,
        }
    }

    /// Returns a new snapshot. Transactions that run with an id above the highest finished id are not in
    /// the snapshot's list, but at or above its `xmax`.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let xmax = self.highest_finished + 1;
        let writers = self.writers.iter().filter(|writer| writer.is_running());
        let mut running: Vec<u64> = writers
            .filter_map(|writer| writer.xid)
            .chain(self.recordings.iter().flatten().map(|record| record.xid))
            .filter(|&xid| xid < xmax)
            .collect();
        running.sort_unstable();
        let xmin = running.first().copied().unwrap_or(xmax);
        let list: Vec<String> = running.iter().map(u64::to_string).collect();
        let text = format!("{xmin}:{xmax}:{}", list.join(","));
        // The list is sorted and within the bounds by construction.
        #[expect(clippy::expect_used)]
        text.parse().expect("a snapshot")
    }

    pub(crate) const fn assign_xid(&mut self) -> u64 {
        let xid = self.next_xid;
        self.next_xid += 1;
        xid
    }

    pub(crate) fn is_locked(&self, key: u8) -> bool {
        let holds = |writer: &Writer| writer.key == key && writer.holds_lock();
        self.writers.iter().any(holds)
    }

    /// Writes a row. The transaction's id is assigned before the position, as the order of the table's
    /// columns ensures.
    pub(crate) fn write_row(&mut self, writer: usize) {
        self.last_position += 1;
        let position = self.last_position;
        let writer = &mut self.writers[writer];
        writer.rows.push(position);
        if let Some(xid) = writer.xid {
            self.log.write(Entry::Row { xid, position });
        }
    }

    pub(crate) fn log_commit(&mut self, writer: usize) {
        self.writers[writer].stage = Stage::Logged;
        if let Some(xid) = self.writers[writer].xid {
            self.log.write(Entry::Commit { xid, writer });
        }
    }

    /// Makes a logged commit visible and releases its lock.
    pub(crate) fn show_commit(&mut self, writer: usize) {
        let key = self.writers[writer].key;
        let is_before = |other: &&Writer| other.key == key && other.is_committed();
        let order = self.writers.iter().filter(is_before).count();
        let writer = &mut self.writers[writer];
        writer.stage = Stage::Committed;
        writer.order = Some(order);
        self.highest_finished = self.highest_finished.max(writer.xid.unwrap_or(0));
    }

    pub(crate) fn roll_back(&mut self, writer: usize) {
        if let Some(xid) = self.writers[writer].xid {
            self.abort(xid);
        }
        self.writers[writer].roll_back();
    }

    /// Logs an abort like a commit, but without waiting for a flush.
    fn abort(&mut self, xid: u64) {
        self.log.write(Entry::Abort { xid });
        self.highest_finished = self.highest_finished.max(xid);
    }

    /// Ends a relay's session: rolls back the checkpoint being recorded and releases the lock.
    pub(crate) fn end_session(&mut self, relay: usize) {
        if let Some(recording) = self.recordings[relay].take() {
            self.abort(recording.xid);
        }
        if self.holder == Some(relay) {
            self.holder = None;
        }
    }

    /// Commits a relay's checkpoint synchronously.
    pub(crate) fn commit_record(&mut self, recording: &Recording) {
        self.log.flush_commit(recording.xid);
        self.highest_finished = self.highest_finished.max(recording.xid);
        self.checkpoint = Some(recording.checkpoint.clone());
    }

    /// Crashes the server: only the flushed log and the first `kept` records after it survive. Ids and
    /// positions without a surviving record are assigned again.
    pub(crate) fn crash(&mut self, kept: usize) {
        let lost = self.log.crash(kept);
        for index in 0..self.writers.len() {
            let writer = &mut self.writers[index];
            let is_open = writer.stage == Stage::Open && writer.has_begun();
            if is_open || lost.contains(&index) {
                writer.roll_back();
            } else if writer.stage == Stage::Logged {
                // The commit survived although it had never become visible.
                self.show_commit(index);
            }
        }
        self.recordings = [None, None];
        self.holder = None;
        self.highest_finished = self.log.highest_xid;
        self.next_xid = self.log.highest_xid + 1;
        self.last_position = self.log.highest_position;
    }
}
