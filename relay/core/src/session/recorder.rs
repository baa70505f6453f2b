//! Records: when a checkpoint is recorded, and which rows wait for it.

use std::time::{Duration, Instant};

use super::{frame_reader::Opened, frames::Frames, lease::Command};
use crate::{
    capture::{Floors, Position},
    checkpoint::Checkpoint,
    publish::{Machine, Progress},
};

/// Wait before locked rows are recorded again.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

/// Permission to take rows from the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Granted: visible rows are durable.
    Open,
    /// Refused until a commit is recorded, which is still to be requested.
    Wanted,
    /// Refused until the requested commit is recorded.
    Requested,
}

/// Decides when the progress of the frames is recorded.
#[derive(Debug)]
pub(super) struct Recorder {
    frames: Frames,
    gate: Gate,
    interval: Duration,
    /// Position to pair with the transaction of the record in progress; `None` if there is none.
    recording: Option<Position>,
    /// Progress in the last record.
    recorded: Option<Progress>,
    /// Earliest time of the next record.
    after: Instant,
    /// `true` if the last record left out rows that another transaction had locked.
    locked: bool,
    /// `true` if there is something to record.
    wanted: bool,
}

impl Recorder {
    pub(super) fn new(start: Checkpoint, interval: Duration, now: Instant) -> Self {
        Self {
            frames: Frames::new(start),
            gate: Gate::Open,
            interval,
            recording: None,
            recorded: None,
            after: now,
            locked: false,
            wanted: false,
        }
    }

    /// Returns `true` if rows of the last frame may be taken.
    pub(super) fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }

    pub(super) fn settled_below(&self) -> Position {
        self.frames.settled_below()
    }

    /// Records that a frame is open.
    pub(super) fn opened(&mut self, frame: Opened) {
        if !frame.durable {
            self.gate = Gate::Wanted;
        }
        self.frames.opened(frame);
    }

    /// Records that a poll read many positions, up to this one, and found no new row.
    pub(super) fn empty_scan(&mut self, upper: Position) {
        self.frames.empty_scan(upper);
    }

    /// Returns the record that is due, which holds progress, parked rows and the gate's commit in
    /// one statement, and `true` if rows wait for its commit. `last` is `true` if a graceful stop
    /// waits for nothing else.
    pub(super) fn next<M>(
        &mut self,
        machine: &mut Machine<M>,
        now: Instant,
        last: bool,
    ) -> Option<(Command, bool)> {
        if self.recording.is_some() {
            return None;
        }
        let progress = machine.progress();
        self.wanted =
            machine.has_records() || self.recorded != Some(progress) || self.frames.wants_floor();
        let due = (last && !self.locked) || now >= self.after;
        let gate = self.gate == Gate::Wanted;
        if !(gate || self.wanted && due) {
            return None;
        }
        if gate {
            self.gate = Gate::Requested;
        }
        self.recording = Some(self.frames.upper());
        self.recorded = Some(progress);
        self.after = now + self.interval;
        let record = Command::Record {
            checkpoint: Box::new(self.frames.checkpoint(progress)),
            write: machine.take_writes(),
        };
        Some((record, gate))
    }

    /// Records that the record in progress is durable. Returns the floors that it makes.
    pub(super) fn recorded(&mut self, xid: u64, locked: bool, now: Instant) -> Option<Floors> {
        self.locked = locked;
        if locked {
            self.after = now + LOCKED_PAUSE;
        }
        if self.gate == Gate::Requested {
            self.gate = Gate::Open;
        }
        let position = self.recording.take()?;
        Some(self.frames.recorded(xid, position).clone())
    }

    /// Returns `true` if all progress is recorded. Rows that another transaction has locked do not
    /// count: without their records, messages are only sent again.
    pub(super) fn is_complete<M>(&self, machine: &mut Machine<M>) -> bool {
        self.recording.is_none()
            && (self.locked || !machine.has_records())
            && self.recorded == Some(machine.progress())
    }

    /// Returns the time of the next record, if one is wanted and none is in progress.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        let waits = self.recording.is_none() && (self.wanted || self.gate == Gate::Wanted);
        waits.then(|| self.after.max(now + Duration::from_millis(1)))
    }
}
