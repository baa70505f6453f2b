//! The possible steps in a state.

use relay_core::capture::Position;

use crate::{
    database::RELAYS,
    frame::RowState,
    scenario::{Scenario, Trap},
    world::World,
    writer::Stage,
};

/// An event. Writers and relays are numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A writer's transaction gets its id: it wrote to another table, or is about to publish.
    AssignXid(usize),
    /// A writer locks its key.
    LockKey(usize),
    /// A writer publishes: it gets a position and writes a row there.
    WriteRow(usize),
    /// A writer's commit is written to the log.
    LogCommit(usize),
    /// A writer's commit becomes visible, and its lock is released.
    ShowCommit(usize),
    /// A writer rolls back.
    RollBack(usize),
    /// The log is flushed.
    Flush,
    /// The database crashes. Some of the unflushed records had reached the disk.
    CrashDatabase {
        /// Number of those records.
        kept: usize,
    },
    /// A relay takes the lock and begins at the durable checkpoint.
    TakeLease(usize),
    /// A relay takes a snapshot and reads its frame.
    Poll(usize),
    /// A relay sends a row to the broker, which takes it.
    Send(usize, Position),
    /// The broker's confirm reaches the relay.
    Confirm(usize, Position),
    /// The confirm is lost with its channel; the row is to be sent again.
    LoseConfirm(usize, Position),
    /// The transaction that records a relay's checkpoint gets its id.
    BeginRecord(usize),
    /// The transaction that records a relay's checkpoint commits.
    CommitRecord(usize),
    /// The server ends the session of a relay that does not notice: the relay may be frozen or cut off.
    LoseLease(usize),
    /// A relay's session ends: the relay crashed, or noticed the loss of a connection. Its memory is
    /// discarded.
    EndSession(usize),
    /// A relay reconnects without discarding its memory. Only a mistake allows this step.
    Reconnect(usize),
}

/// Adds all steps that are possible in a state.
pub(crate) fn possible(scenario: &Scenario, world: &World, steps: &mut Vec<Step>) {
    writers(world, steps);
    if world.database.log.unflushed() > 0 {
        steps.push(Step::Flush);
    }
    if world.remaining.database_crashes > 0 {
        let most = world.database.log.unflushed();
        steps.extend((0..=most).map(|kept| Step::CrashDatabase { kept }));
    }
    for relay in 0..RELAYS {
        lease(scenario, world, relay, steps);
        publishing(scenario, world, relay, steps);
    }
}

fn writers(world: &World, steps: &mut Vec<Step>) {
    let writers = &world.database.writers;
    for (number, writer) in writers.iter().enumerate() {
        // Identical producers begin in the order of their numbers: any other order is the same with other
        // numbers.
        let is_identical = |other: &_| *other == writer;
        if !writer.has_begun() && writers[..number].iter().any(|other| is_identical(&other)) {
            continue;
        }
        match writer.stage {
            Stage::Open => {}
            Stage::Logged => {
                steps.push(Step::ShowCommit(number));
                continue;
            }
            Stage::Committed | Stage::RolledBack => continue,
        }
        if writer.xid.is_none() {
            steps.push(Step::AssignXid(number));
        } else {
            steps.push(Step::RollBack(number));
        }
        if writer.can_lock() && !world.database.is_locked(writer.key) {
            steps.push(Step::LockKey(number));
        }
        if writer.can_write() {
            steps.push(Step::WriteRow(number));
        }
        if writer.can_commit() {
            steps.push(Step::LogCommit(number));
        }
    }
}

fn lease(scenario: &Scenario, world: &World, relay: usize, steps: &mut Vec<Step>) {
    let Some(session) = &world.relays[relay] else {
        // Relays without a session are identical.
        let is_first = world.relays[..relay].iter().all(Option::is_some);
        if world.database.holder.is_none() && is_first {
            steps.push(Step::TakeLease(relay));
        }
        return;
    };
    let holds = world.database.holder == Some(relay);
    if holds && world.remaining.lost_leases > 0 {
        steps.push(Step::LoseLease(relay));
    }
    if !holds || world.remaining.relay_crashes > 0 {
        steps.push(Step::EndSession(relay));
    }
    if world.database.recordings[relay].is_some() {
        steps.push(Step::CommitRecord(relay));
    } else if session.connected
        && (holds || scenario.has(Trap::RecordWithoutLock))
        && session.unrecorded
        && world.remaining.records > 0
    {
        steps.push(Step::BeginRecord(relay));
    }
    if scenario.has(Trap::MemoryOutlivesConnection)
        && !session.connected
        && world.database.holder.is_none()
        && session.rows().all(|row| row.state == RowState::Confirmed)
    {
        steps.push(Step::Reconnect(relay));
    }
}

/// Adds the steps of publishing. A relay that has lost its lease continues with them for as long as it does
/// not notice: the model has no clock that would stop it.
fn publishing(scenario: &Scenario, world: &World, relay: usize, steps: &mut Vec<Step>) {
    let Some(session) = &world.relays[relay] else {
        return;
    };
    if session.connected
        && session.open.len() < scenario.open_frames
        && session.read.misses_any_of(&world.database.snapshot())
    {
        steps.push(Step::Poll(relay));
    }
    let ready = session.ready(scenario);
    steps.extend(ready.into_iter().map(|row| Step::Send(relay, row)));
    for row in session.rows().filter(|row| row.state == RowState::Sent) {
        steps.push(Step::Confirm(relay, row.position));
        steps.push(Step::LoseConfirm(relay, row.position));
    }
}
