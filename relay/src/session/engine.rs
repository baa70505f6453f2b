//! Loop between the session's core and the tasks that do its I/O. The loop itself decides nothing.

use std::time::{Duration, Instant};

use relay_core::{
    capture::Floors,
    session::{Command, Core, Event, Report, frame_reader, lease, parked_reader},
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{self, BatchRequest},
    error::RelayError,
    events::{self, MessagesSettled},
    health::{Reporter, State},
    store::{DatabaseError, LeaseFreshness, StoredMessage},
};

/// Interval between polls for parked rows that are due.
const DUE_INTERVAL: Duration = Duration::from_millis(500);

/// Events of the session's tasks.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) reader: mpsc::Receiver<Result<frame_reader::Event<StoredMessage>, DatabaseError>>,
    pub(super) parked_reader:
        mpsc::Receiver<Result<parked_reader::Event<StoredMessage>, DatabaseError>>,
    pub(super) lease_task: mpsc::Receiver<Result<lease::Recorded, DatabaseError>>,
    pub(super) connection: mpsc::Receiver<broker::Event>,
}

/// Brings events to the core, and carries out its commands.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) core: Core<StoredMessage>,
    /// Channels of the broker's connection.
    pub(super) channels: Vec<mpsc::Sender<BatchRequest>>,
    pub(super) floors: watch::Sender<Floors>,
    pub(super) freshness: LeaseFreshness,
    pub(super) to_lease: mpsc::Sender<lease::Command>,
    pub(super) to_parked_reader: mpsc::Sender<parked_reader::Command>,
    pub(super) reporter: Reporter,
    pub(super) maintenance_interval: Duration,
}

impl Engine {
    /// Runs until a graceful stop is complete, or until a connection or a task is lost. `shutdown`
    /// begins the stop, which is complete once the messages in memory are recorded.
    pub(super) async fn run(
        mut self,
        mut inputs: Inputs,
        shutdown: &CancellationToken,
    ) -> Result<(), RelayError> {
        let mut due = interval(DUE_INTERVAL);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut maintenance = interval(self.maintenance_interval);
        maintenance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        loop {
            while let Some(command) = self.core.next(Instant::now(), self.freshness.age()) {
                self.carry_out(command);
            }
            if self.core.is_done(Instant::now()) {
                return Ok(());
            }
            let wake = self.core.next_wake(Instant::now());
            let event = tokio::select! {
                recorded = inputs.lease_task.recv() => {
                    Event::Recorded(recorded.ok_or(RelayError::Task)??)
                }
                event = inputs.connection.recv() => {
                    self.on_connection(event.ok_or(RelayError::Task)?)?
                }
                event = inputs.reader.recv(), if self.core.wants_rows() => {
                    Event::Reader(event.ok_or(RelayError::Task)??)
                }
                event = inputs.parked_reader.recv() => {
                    Event::ParkedReader(event.ok_or(RelayError::Task)??)
                }
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    Event::Stop
                }
                _ = due.tick() => {
                    let machine = self.core.machine();
                    let (rows, held_keys) = (machine.rows(), machine.held_keys());
                    let oldest = machine.min_by(StoredMessage::due_at);
                    events::Window { rows, held_keys, oldest }.emit();
                    Event::PollDue
                }
                _ = maintenance.tick() => Event::MaintenanceDue,
                () = sleep_until(wake.into()) => continue,
            };
            self.core.handle(event, Instant::now());
        }
    }

    /// Turns an event of the broker's connection into one of the core.
    fn on_connection(&mut self, event: broker::Event) -> Result<Event<StoredMessage>, RelayError> {
        match event {
            broker::Event::State(state) => {
                self.reporter.broker(&state);
                Ok(match state {
                    State::Disconnected { .. } | State::Connecting => {
                        self.channels.clear();
                        Event::Disconnected
                    }
                    State::Blocked { .. } => Event::Blocked(true),
                    State::Ready | State::Unconfirmed => Event::Blocked(false),
                })
            }
            broker::Event::Channels(channels) => {
                self.channels = channels;
                Ok(Event::Channels(self.channels.len()))
            }
            broker::Event::BatchDone { channel, outcomes } => {
                Ok(Event::BatchDone { channel, outcomes })
            }
            broker::Event::Refused(error) => Err(error.into()),
        }
    }

    /// Carries out a command. A task that takes no more commands has ended; its last event, or the
    /// end of its events, follows.
    fn carry_out(&mut self, command: Command<StoredMessage>) {
        match command {
            Command::Publish {
                channel,
                batch,
                isolated,
            } => {
                let request = BatchRequest { batch, isolated };
                let Err(refused) = self.channels[channel].try_send(request) else {
                    return;
                };
                // The broker's connection was closed a moment ago.
                let unsent = Event::Unsent(refused.into_inner().batch);
                self.core.handle(unsent, Instant::now());
            }
            Command::Lease(command) => {
                // Maintenance leaves one slot of the queue to a record. While the task is busy, the
                // next maintenance will do.
                let is_record = matches!(command, lease::Command::Record { .. });
                if is_record || self.to_lease.capacity() > 1 {
                    drop(self.to_lease.try_send(command));
                }
            }
            Command::ParkedReader(command) => drop(self.to_parked_reader.try_send(command)),
            Command::Floors(floors) => drop(self.floors.send_replace(floors)),
            Command::Report(report) => match report {
                Report::Settled(settled) => MessagesSettled::from_iter(settled).emit(),
                Report::Unbound(topics) => events::Unbound { topics }.emit(),
                Report::GateCommit => events::GateCommit.emit(),
                Report::Checkpointed => events::Checkpointed.emit(),
            },
        }
    }
}
