//! The model of a session: all state that must not outlive a connection.

use relay::capture::{Floors, Frame, Frontier, Pair, Position, Snapshot};

use crate::{
    checkpoint::{Checkpoint, Progress, Recording, Unfinished},
    database::Database,
    frame::{self, OpenFrame, Row, RowState},
    hashed::Hashed,
    scenario::{Scenario, Trap},
};

/// Memory of a relay that took the lease and may not know that it has lost it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    /// Last snapshot that was read; its rows may still be in memory.
    pub(crate) read: Hashed<Snapshot>,
    /// Last snapshot whose rows are all delivered, as of the last record.
    pub(crate) delivered: Hashed<Snapshot>,
    pub(crate) floors: Hashed<Floors>,
    /// Frames not recorded as delivered, oldest first.
    pub(crate) open: Vec<OpenFrame>,
    /// Highest position known to be allocated.
    upper: Position,
    /// `true` if there is progress whose recording has not begun.
    pub(crate) unrecorded: bool,
    /// `true` once the relay has lost the lease and can no longer record.
    lease_lost: bool,
    /// `true` while the server has not crashed since the session connected.
    pub(crate) connected: bool,
}

impl Session {
    /// Begins at the durable checkpoint, with the frame that was under way.
    pub(crate) fn start(database: &Database, scenario: &Scenario) -> Self {
        let recorded = database.checkpoint.clone();
        let Checkpoint { progress, floors } = recorded.unwrap_or_else(Checkpoint::beginning);
        let mut session = Self {
            read: progress.delivered.clone(),
            delivered: progress.delivered,
            floors,
            open: Vec::new(),
            upper: 0,
            unrecorded: true,
            lease_lost: false,
            connected: true,
        };
        if let Some(unfinished) = progress.unfinished {
            let Unfinished {
                to,
                upper,
                watermark,
            } = unfinished;
            let (from, floors) = (&session.delivered, &session.floors);
            let frontier = Frontier::of(from, floors);
            let frame = Frame::new(frontier, to.0.clone(), upper, Some(watermark));
            let rows = frame::read(database, frame);
            // The frame was recorded by a synchronous commit, so the rows that it sees are durable.
            session.open(scenario, to, upper, watermark, true, rows);
        }
        session
    }

    /// Takes a snapshot and reads the rows that it sees and the last snapshot did not.
    pub(crate) fn poll(&mut self, database: &Database, scenario: &Scenario) {
        let to = database.snapshot();
        let upper = database.last_position;
        let floors = self.floors_for_reading(scenario);
        let frontier = Frontier::of(&self.read, &floors);
        let frame = Frame::new(frontier, to.0.clone(), upper, None);
        let rows = frame::read(database, frame);
        if rows.is_empty() {
            self.read = to;
        } else {
            let durable = database.log.unflushed() == 0;
            self.open(scenario, to, upper, 0, durable, rows);
        }
    }

    fn floors_for_reading(&self, scenario: &Scenario) -> Floors {
        let mut floors = self.floors.0.clone();
        if scenario.has(Trap::HighestDeliveredPosition) {
            // Stragglers have lower ids, so only the floor of new rows is raised.
            let xid = self.read.xmax() - 1;
            let mut pairs: Vec<Pair> = floors.pairs().to_vec();
            pairs.retain(|pair| pair.xid < xid);
            pairs.push(Pair {
                xid,
                position: self.upper,
            });
            floors = Floors::from_pairs(pairs);
        }
        floors
    }

    fn open(
        &mut self,
        scenario: &Scenario,
        to: Hashed<Snapshot>,
        upper: Position,
        done: Position,
        durable: bool,
        mut rows: Vec<Row>,
    ) {
        if scenario.has(Trap::OrderByXid) {
            rows.sort_unstable_by_key(|row| (row.xid, row.position));
        }
        self.read = to.clone();
        let highest_row = rows.iter().map(|row| row.position).max();
        let known = match highest_row {
            Some(row) if scenario.has(Trap::HighestDeliveredPosition) => row,
            _ => upper,
        };
        self.upper = self.upper.max(known);
        self.unrecorded = true;
        self.open.push(OpenFrame {
            to,
            upper,
            done,
            durable,
            rows,
        });
    }

    /// Returns the rows in memory, in the order in which they were read.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.open.iter().flat_map(|frame| &frame.rows)
    }

    pub(crate) fn set_state(&mut self, position: Position, state: RowState) {
        let before = (state == RowState::Confirmed).then(|| self.progress());
        let mut rows = self.open.iter_mut().flat_map(|frame| &mut frame.rows);
        if let Some(row) = rows.find(|row| row.position == position) {
            row.state = state;
        }
        self.unrecorded |= before.is_some_and(|before| before != self.progress());
        if self.lease_lost {
            self.forget_progress();
        }
    }

    /// Returns the positions of rows that may be sent: durable, and first of their key.
    pub(crate) fn ready(&self, scenario: &Scenario) -> Vec<Position> {
        let mut busy_keys = Vec::new();
        let mut ready = Vec::new();
        for frame in &self.open {
            let may_go = frame.durable || scenario.has(Trap::PublishBeforeFlush);
            for row in frame
                .rows
                .iter()
                .filter(|row| row.state != RowState::Confirmed)
            {
                if busy_keys.contains(&row.key) {
                    continue;
                }
                busy_keys.push(row.key);
                if may_go && row.state == RowState::Waiting {
                    ready.push(row.position);
                }
            }
        }
        ready
    }

    fn progress(&self) -> Progress {
        let finished = self.open.iter().take_while(|frame| frame.is_finished());
        let delivered = finished.last().map_or(&self.delivered, |frame| &frame.to);
        let current = self.open.iter().find(|frame| !frame.is_finished());
        let unfinished = current.map(|frame| Unfinished {
            to: frame.to.clone(),
            upper: frame.upper,
            watermark: frame.watermark(),
        });
        Progress {
            delivered: delivered.clone(),
            unfinished,
        }
    }

    /// Begins to record the progress. The position of the pair was read with an earlier snapshot; the id is
    /// new.
    pub(crate) fn begin_record(&mut self, xid: u64) -> Recording {
        let progress = self.progress();
        let finished = self
            .open
            .iter()
            .take_while(|frame| frame.is_finished())
            .count();
        self.open.drain(..finished);
        self.delivered = progress.delivered.clone();
        self.unrecorded = false;
        Recording {
            xid,
            checkpoint: Checkpoint {
                progress,
                floors: self.floors.clone(),
            },
            position: self.upper,
        }
    }

    /// Adds the pair that a durable record proves.
    pub(crate) fn recorded(&mut self, pair: Pair) {
        let xmin = self.delivered.xmin();
        self.floors.add(pair, xmin);
    }

    /// Discards the state that matters only to records, which the session can no longer make.
    pub(crate) fn forget_progress(&mut self) {
        self.lease_lost = true;
        self.delivered = Hashed(Snapshot::beginning());
        self.upper = 0;
        self.unrecorded = false;
        let finished = self.open.iter().take_while(|frame| frame.is_finished());
        let finished = finished.count();
        self.open.drain(..finished);
    }

    /// Marks all connections to the server as lost. Discards state that the session will never read again,
    /// so that states which differ in nothing else become one.
    pub(crate) fn disconnect(&mut self, scenario: &Scenario) {
        self.connected = false;
        if scenario.has(Trap::MemoryOutlivesConnection) {
            return;
        }
        self.forget_progress();
        self.read = Hashed(Snapshot::beginning());
        self.floors = Hashed(Floors::default());
        if !scenario.has(Trap::PublishBeforeFlush) {
            self.open.retain(|frame| frame.durable);
        }
    }

    /// Returns `true` if the session can have no further effect.
    pub(crate) fn is_inert(&self, scenario: &Scenario) -> bool {
        !scenario.has(Trap::MemoryOutlivesConnection)
            && !self.connected
            && self.open.iter().all(OpenFrame::is_finished)
    }

    /// Marks the open frames as durable: all transactions visible when they were read have been flushed.
    pub(crate) fn flushed(&mut self) {
        for frame in self.open.iter_mut().filter(|_| self.connected) {
            frame.durable = true;
        }
    }
}
