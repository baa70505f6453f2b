//! The model of a session: all state that must not outlive a connection.

use relay_core::{
    capture::{Floors, Frame, Frontier, Pair, Position, Snapshot},
    checkpoint::Unfinished,
    publish::Progress,
    session::{Frames, frame_reader::Opened},
};

use crate::{
    checkpoint::{self, Recording},
    database::Database,
    frame::{self, OpenFrame, Row, RowState},
    scenario::{Scenario, Trap},
};

/// Memory of a relay that took the lease and may not know that it has lost it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    /// Last snapshot that was read; its rows may still be in memory.
    pub(crate) read: Snapshot,
    /// Last snapshot whose rows are all delivered, as of the last record.
    pub(crate) delivered: Snapshot,
    /// Floors as of the last record that is known to be durable.
    pub(crate) floors: Floors,
    /// The relay's own list of open frames, from which it makes checkpoints.
    frames: Frames,
    /// Rows of frames not recorded as delivered, oldest first.
    pub(crate) open: Vec<OpenFrame>,
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
        let start = recorded.unwrap_or_else(checkpoint::beginning);
        let mut session = Self {
            read: start.delivered.clone(),
            delivered: start.delivered.clone(),
            floors: start.floors.clone(),
            frames: Frames::new(start.clone()),
            open: Vec::new(),
            unrecorded: true,
            lease_lost: false,
            connected: true,
        };
        if let Some(unfinished) = start.unfinished {
            let Unfinished {
                to,
                upper,
                watermark,
            } = unfinished;
            let frontier = Frontier::of(&session.delivered, &session.floors);
            let frame = Frame::new(frontier, to.clone(), upper, Some(watermark));
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
        let frame = Frame::new(frontier, to.clone(), upper, None);
        let rows = frame::read(database, frame);
        if rows.is_empty() {
            self.read = to;
        } else {
            let durable = database.log.unflushed() == 0;
            self.open(scenario, to, upper, 0, durable, rows);
        }
    }

    fn floors_for_reading(&self, scenario: &Scenario) -> Floors {
        let mut floors = self.floors.clone();
        if scenario.has(Trap::HighestDeliveredPosition) {
            // Stragglers have lower ids, so only the floor of new rows is raised.
            let xid = self.read.xmax() - 1;
            let mut pairs: Vec<Pair> = floors.pairs().to_vec();
            pairs.retain(|pair| pair.xid < xid);
            pairs.push(Pair {
                xid,
                position: self.frames.upper(),
            });
            floors = Floors::from_pairs(pairs);
        }
        floors
    }

    fn open(
        &mut self,
        scenario: &Scenario,
        to: Snapshot,
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
        self.unrecorded = true;
        let id = self.open.last().map_or(1, |frame| frame.id + 1);
        if !self.lease_lost {
            self.frames.opened(Opened {
                id,
                walk: false,
                to,
                upper: known,
                done,
                durable,
            });
        }
        self.open.push(OpenFrame { id, durable, rows });
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
        let mut frames = self.open.iter().peekable();
        let mut finished = None;
        while let Some(frame) = frames.next_if(|frame| frame.is_finished()) {
            finished = Some(frame.id);
        }
        let current = frames.next();
        Progress {
            finished,
            current: current.map(|frame| frame.id),
            watermark: current.and_then(OpenFrame::watermark),
        }
    }

    /// Begins to record the progress. The position of the pair was read with an earlier snapshot; the id is
    /// new.
    pub(crate) fn begin_record(&mut self, xid: u64) -> Recording {
        let checkpoint = self.frames.checkpoint(self.progress());
        self.drop_finished();
        self.delivered = checkpoint.delivered.clone();
        self.unrecorded = false;
        Recording {
            xid,
            checkpoint,
            position: self.frames.upper(),
        }
    }

    /// Adds the pair that a durable record proves.
    pub(crate) fn recorded(&mut self, pair: Pair) {
        self.floors = self.frames.recorded(pair.xid, pair.position).clone();
    }

    /// Discards the state that matters only to records, which the session can no longer make.
    pub(crate) fn forget_progress(&mut self) {
        self.lease_lost = true;
        self.delivered = Snapshot::beginning();
        self.frames = Frames::new(checkpoint::beginning());
        self.unrecorded = false;
        self.drop_finished();
    }

    fn drop_finished(&mut self) {
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
        self.read = Snapshot::beginning();
        self.floors = Floors::default();
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
