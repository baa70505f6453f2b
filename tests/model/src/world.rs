//! State of the whole system, and the effect of each step.

use relay_core::{
    capture::{Pair, Position},
    checkpoint::Checkpoint,
};

use crate::{
    checkpoint::{Recording, covers},
    database::{Database, RELAYS},
    frame::{RowState, committed_rows},
    scenario::{Scenario, Trap},
    session::Session,
    step::Step,
    writer::MessageId,
};

/// Number of failures and records that may still occur.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Remaining {
    pub(crate) database_crashes: u8,
    pub(crate) relay_crashes: u8,
    pub(crate) lost_leases: u8,
    pub(crate) records: u8,
}

/// A state: the database, the relays' memories, and the messages sent to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) database: Database,
    pub(crate) relays: [Option<Session>; RELAYS],
    /// Messages in the order in which the broker first took them. Repeats are not recorded.
    pub(crate) broker: Vec<MessageId>,
    pub(crate) remaining: Remaining,
    /// `true` if a checkpoint covered less than the checkpoint before it.
    pub(crate) checkpoint_went_back: bool,
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut database = Database::new(scenario);
        database.holder = Some(0);
        let first = Session::start(&database, scenario);
        Self {
            database,
            relays: [Some(first), None],
            broker: Vec::new(),
            remaining: Remaining {
                database_crashes: scenario.database_crashes,
                relay_crashes: scenario.relay_crashes,
                lost_leases: scenario.lost_leases,
                records: scenario.records,
            },
            checkpoint_went_back: false,
        }
    }

    /// Returns the number of messages that all producers together would write.
    pub(crate) fn messages(&self) -> usize {
        self.database.writers.iter().map(|writer| writer.size).sum()
    }

    /// Returns the state after a step that is possible in this state.
    pub(crate) fn after(&self, scenario: &Scenario, step: &Step) -> Self {
        let mut world = self.clone();
        match *step {
            Step::AssignXid(writer) => {
                let xid = world.database.assign_xid();
                world.database.writers[writer].xid = Some(xid);
            }
            Step::LockKey(writer) => world.database.writers[writer].locked = true,
            Step::WriteRow(writer) => world.database.write_row(writer),
            Step::LogCommit(writer) => {
                world.database.log_commit(writer);
                if world.remaining.database_crashes == 0 {
                    world.database.show_commit(writer);
                }
            }
            Step::ShowCommit(writer) => world.database.show_commit(writer),
            Step::RollBack(writer) => world.database.roll_back(writer),
            Step::Flush => world.flush(),
            Step::CrashDatabase { kept } => world.crash_database(scenario, kept),
            Step::TakeLease(relay) => {
                world.database.holder = Some(relay);
                world.relays[relay] = Some(Session::start(&world.database, scenario));
            }
            Step::LoseLease(relay) => {
                world.remaining.lost_leases -= 1;
                world.database.end_session(relay);
                if let Some(session) = &mut world.relays[relay]
                    && !scenario.has(Trap::RecordWithoutLock)
                {
                    session.forget_progress();
                }
            }
            Step::EndSession(relay) => world.end_session(relay),
            _ => world.step_of_session(scenario, step),
        }
        if world.remaining.database_crashes == 0 {
            // No record can be lost any more, so waiting for the disk changes nothing.
            world.flush();
        }
        world
    }

    fn step_of_session(&mut self, scenario: &Scenario, step: &Step) {
        let (Step::Poll(relay)
        | Step::Send(relay, _)
        | Step::Confirm(relay, _)
        | Step::LoseConfirm(relay, _)
        | Step::BeginRecord(relay)
        | Step::CommitRecord(relay)
        | Step::Reconnect(relay)) = *step
        else {
            return;
        };
        let Some(session) = &mut self.relays[relay] else {
            return;
        };
        match *step {
            Step::Poll(_) => session.poll(&self.database, scenario),
            Step::Send(_, position) => self.send(relay, position),
            Step::Confirm(_, position) => session.set_state(position, RowState::Confirmed),
            Step::LoseConfirm(_, position) => session.set_state(position, RowState::Waiting),
            Step::BeginRecord(_) => {
                let recording = session.begin_record(self.database.assign_xid());
                self.database.recordings[relay] = Some(recording);
                self.remaining.records -= 1;
            }
            Step::CommitRecord(_) => self.commit_record(scenario, relay),
            _ => {
                session.connected = true;
                self.database.holder = Some(relay);
            }
        }
    }

    fn send(&mut self, relay: usize, position: Position) {
        let Some(session) = &mut self.relays[relay] else {
            return;
        };
        let row = session.rows().find(|row| row.position == position);
        let message = row.map(|row| row.message);
        session.set_state(position, RowState::Sent);
        self.broker
            .extend(message.filter(|message| !self.broker.contains(message)));
    }

    fn commit_record(&mut self, scenario: &Scenario, relay: usize) {
        let Some(recording) = self.database.recordings[relay].take() else {
            return;
        };
        let before = self.database.checkpoint.clone();
        self.database.commit_record(&recording);
        self.mark_flushed();
        self.checkpoint_went_back |= before.is_some_and(|old| self.covers_less(&recording, &old));
        let position = if scenario.has(Trap::PairWithinTransaction) {
            self.database.last_position
        } else {
            recording.position
        };
        if let Some(session) = &mut self.relays[relay] {
            let xid = recording.xid;
            session.recorded(Pair { xid, position });
        }
    }

    fn covers_less(&self, recording: &Recording, old: &Checkpoint) -> bool {
        let new = &recording.checkpoint;
        new.delivered.xmax() < old.delivered.xmax()
            || committed_rows(&self.database).any(|row| {
                covers(old, row.xid, row.position) && !covers(new, row.xid, row.position)
            })
    }

    fn flush(&mut self) {
        self.database.log.flush();
        self.mark_flushed();
    }

    fn mark_flushed(&mut self) {
        for session in self.relays.iter_mut().flatten() {
            session.flushed();
        }
    }

    fn crash_database(&mut self, scenario: &Scenario, kept: usize) {
        self.remaining.database_crashes -= 1;
        self.database.crash(kept);
        for relay in &mut self.relays {
            if let Some(session) = relay {
                session.disconnect(scenario);
            }
            if relay
                .as_ref()
                .is_some_and(|session| session.is_inert(scenario))
            {
                *relay = None;
            }
        }
    }

    fn end_session(&mut self, relay: usize) {
        if self.database.holder == Some(relay) {
            self.remaining.relay_crashes -= 1;
        }
        self.database.end_session(relay);
        self.relays[relay] = None;
    }
}
