//! The session's decisions: events in, commands out, without I/O and without a clock.
//!
//! The core decides which rows are read and sent, what is recorded and when, and when a graceful
//! stop is complete. The crate `relay` brings it the events of the session's tasks and carries out
//! its commands; the simulation in `tests` does the same without a server.

mod channels;
mod command;
pub mod frame_reader;
mod frames;
mod handle;
pub mod lease;
mod parked;
pub mod parked_reader;
mod recorder;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use crate::{capture::Position, checkpoint::Checkpoint, publish::Machine};

use channels::Channels;
pub use command::{Command, Event, Report};
use parked::ParkedRows;
use recorder::Recorder;

pub use frames::Frames;

/// Wait for events when no command is due.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// Limits of a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most messages of a batch.
    pub batch: usize,
    /// Least time between two checkpoints.
    pub checkpoint_interval: Duration,
    /// Time without a proof after which the lease may be lost.
    pub lease_timeout: Duration,
    /// Longest time of a graceful stop.
    pub drain_timeout: Duration,
}

/// Decides for one session.
#[derive(Debug)]
pub struct Core<M> {
    limits: Limits,
    machine: Machine<M>,
    recorder: Recorder,
    channels: Channels,
    parked: ParkedRows,
    /// Parked rows that the first frame may bring again.
    already_parked: HashSet<Position>,
    /// Commands that follow from the last event.
    ready: VecDeque<Command<M>>,
    /// `true` until the frame is open that an earlier session left unfinished. Until then it is not known which parked
    /// rows it may bring back, so none is taken.
    awaits_frame: bool,
    /// Deadline of the graceful stop, once it has begun.
    stopping: Option<Instant>,
}

impl<M> Core<M> {
    /// Makes the core of a session that begins at a checkpoint. `already_parked` are the parked
    /// rows above the position at which reading resumes.
    pub fn new(
        limits: Limits,
        machine: Machine<M>,
        start: Checkpoint,
        already_parked: HashSet<Position>,
        now: Instant,
    ) -> Self {
        Self {
            limits,
            machine,
            awaits_frame: start.unfinished.is_some() || start.walk.is_some(),
            recorder: Recorder::new(start, limits.checkpoint_interval, now),
            channels: Channels::default(),
            parked: ParkedRows::default(),
            already_parked,
            ready: VecDeque::new(),
            stopping: None,
        }
    }

    /// Returns the machine that decides about messages.
    pub const fn machine(&self) -> &Machine<M> {
        &self.machine
    }

    /// Returns `true` if events of the reader may be taken.
    pub fn wants_rows(&self) -> bool {
        self.machine.has_room() && self.recorder.is_open() && self.stopping.is_none()
    }

    /// Returns the next command, if one is due. The lease was last proven before `lease_age`.
    pub fn next(&mut self, now: Instant, lease_age: Duration) -> Option<Command<M>> {
        self.ready
            .pop_front()
            .or_else(|| self.next_batch(lease_age))
            .or_else(|| self.next_record(now))
            .or_else(|| self.next_request())
    }

    fn next_batch(&mut self, lease_age: Duration) -> Option<Command<M>> {
        let channel = self.channels.idle()?;
        // Checked before every batch: a relay that may have lost its lease publishes nothing.
        if lease_age.as_millis() >= self.limits.lease_timeout.as_millis() * 9 / 10 {
            return None;
        }
        let batch = self.machine.next_batch(self.limits.batch);
        if batch.is_empty() {
            return None;
        }
        self.channels.busy();
        let isolated = self.machine.is_isolated(&batch);
        Some(Command::Publish {
            channel,
            batch,
            isolated,
        })
    }

    fn next_record(&mut self, now: Instant) -> Option<Command<M>> {
        let last = self.stopping.is_some() && self.has_sent_all();
        let (record, is_gate) = self.recorder.next(&mut self.machine, now, last)?;
        if is_gate {
            self.report(Report::GateCommit);
        }
        Some(Command::Lease(record))
    }

    fn next_request(&mut self) -> Option<Command<M>> {
        if self.stopping.is_some() || self.awaits_frame || !self.machine.has_room_for_parked() {
            return None;
        }
        let can_publish = self.channels.can_publish();
        let request = self.parked.next(&mut self.machine, can_publish);
        request.map(Command::ParkedReader)
    }

    /// Returns `true` if a graceful stop is complete, or has reached its deadline.
    pub fn is_done(&mut self, now: Instant) -> bool {
        let Some(deadline) = self.stopping else {
            return false;
        };
        let complete = self.has_sent_all() && self.recorder.is_complete(&mut self.machine);
        complete || now >= deadline
    }

    /// Returns `true` if nothing is in flight, and nothing is ready that could be sent now. A stop
    /// does not wait for a broker that is disconnected or takes no messages.
    fn has_sent_all(&self) -> bool {
        let may_go = self.channels.can_publish() && self.machine.has_ready();
        self.machine.in_flight() == 0 && !may_go
    }

    /// Returns the time at which commands may be due without an event.
    pub fn next_wake(&self, now: Instant) -> Instant {
        let soon = now + IDLE_WAIT;
        let record = self.recorder.next_at(now);
        record.map_or(soon, |record| record.min(soon))
    }
}
