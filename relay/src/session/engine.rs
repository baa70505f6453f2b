//! Loop between the publishing machine and the tasks that do its I/O. The loop itself decides
//! nothing.

use std::{collections::HashSet, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    frames::Frames,
    parked_reader,
    state::{Gate, PollState, SessionState},
};
use crate::{
    broker::{self, BatchRequest},
    capture::{Floors, Position},
    config::Config,
    error::RelayError,
    events::{self, MessagesSettled},
    frame_reader,
    health::Reporter,
    lease::{self, LeaseFreshness},
    message::Message,
    publish::{Machine, Outcome, Reason, Settled},
};

/// Most keys whose parked rows are read at a time. Their rows are taken however little room is
/// left.
const KEYS_AT_ONCE: usize = 4;

/// Interval between polls for parked rows that are due.
const DUE_INTERVAL: Duration = Duration::from_millis(500);

/// Events of the session's tasks.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) reader: mpsc::Receiver<frame_reader::Event>,
    pub(super) parked_reader: mpsc::Receiver<parked_reader::Event>,
    pub(super) lease_task: mpsc::Receiver<lease::Event>,
    pub(super) connection: mpsc::Receiver<broker::Event>,
}

/// Feeds the machine and carries out its decisions.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) machine: Machine<Message>,
    pub(super) frames: Frames,
    pub(super) already_parked: HashSet<Position>,
    pub(super) floors: watch::Sender<Floors>,
    pub(super) freshness: LeaseFreshness,
    pub(super) to_lease: mpsc::Sender<lease::Command>,
    pub(super) to_parked_reader: mpsc::Sender<parked_reader::Command>,
    pub(super) reporter: Reporter,
    pub(super) config: Config,
    pub(super) state: SessionState,
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
        let mut maintenance = interval(self.config.retention.check_interval);
        maintenance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.park_unresponsive();
            self.hand_out();
            self.record();
            self.poll();
            self.request_parked_keys();
            if self.is_done() {
                return Ok(());
            }
            let wake = self.next_wake();
            tokio::select! {
                event = inputs.lease_task.recv() => {
                    self.on_lease(event.ok_or(RelayError::Task)?)?;
                }
                event = inputs.connection.recv() => {
                    self.on_connection(event.ok_or(RelayError::Task)?)?;
                }
                event = inputs.reader.recv(), if self.wants_rows() => {
                    self.on_reader(event.ok_or(RelayError::Task)?)?;
                }
                event = inputs.parked_reader.recv() => {
                    self.on_parked_reader(event.ok_or(RelayError::Task)?)?;
                }
                () = shutdown.cancelled(), if self.state.stopping.is_none() => {
                    self.state.stopping = Some(Instant::now() + self.config.lease.drain_timeout);
                }
                _ = due.tick() => {
                    if self.state.poll_state == PollState::NotDue {
                        self.state.poll_state = PollState::Due;
                    }
                    let (rows, held_keys) = (self.machine.rows(), self.machine.held_keys());
                    let oldest = self.machine.min_by(Message::due_at);
                    events::Window { rows, held_keys, oldest }.emit();
                }
                _ = maintenance.tick() => {
                    let settled_below = self.frames.settled_below();
                    // While the lease task is busy, the next tick will do.
                    drop(self.to_lease.try_send(lease::Command::Maintain { settled_below }));
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    fn park_unresponsive(&mut self) {
        let unresponsive = self.machine.park_unresponsive();
        let unresponsive = std::iter::repeat_n(Settled::Parked(Reason::Nacked), unresponsive);
        let behind = self.machine.take_parked_behind();
        let behind = std::iter::repeat_n(Settled::Parked(Reason::Behind), behind);
        let settled = unresponsive.chain(behind);
        settled.collect::<MessagesSettled>().emit();
    }

    /// Hands batches to idle channels.
    fn hand_out(&mut self) {
        while !self.state.blocked
            && self.machine.has_ready()
            && let Some(&channel) = self.state.idle.last()
        {
            // Checked before every batch: a relay that may have lost its lease publishes nothing.
            if !self.freshness.is_fresh() {
                return;
            }
            let batch = self.machine.next_batch(self.config.amqp.batch);
            if batch.is_empty() {
                return;
            }
            self.state.idle.pop();
            let isolated = self.machine.is_isolated(&batch);
            if let Err(refused) =
                self.state.channels[channel].try_send(BatchRequest { batch, isolated })
            {
                // The broker's connection was closed a moment ago.
                let (mpsc::error::TrySendError::Full(request)
                | mpsc::error::TrySendError::Closed(request)) = refused;
                for row in request.batch {
                    self.machine.settle(row.position, Outcome::Unsent);
                }
                return;
            }
        }
    }

    /// Records progress, parked rows and the gate's commit in one statement.
    fn record(&mut self) {
        if self.state.recording.is_some() {
            return;
        }
        let progress = self.machine.progress();
        let changed = self.machine.has_records()
            || self.state.recorded != Some(progress)
            || self.frames.wants_floor();
        let final_record =
            self.state.stopping.is_some() && !self.state.locked && self.has_sent_all();
        let due = final_record || Instant::now() >= self.state.record_after;
        self.state.record_wanted = changed;
        if self.state.gate != Gate::Wanted && !(changed && due) {
            return;
        }
        let Ok(permit) = self.to_lease.try_reserve() else {
            return;
        };
        let checkpoint = Box::new(self.frames.checkpoint(progress));
        let write = self.machine.take_writes();
        permit.send(lease::Command::Record { checkpoint, write });
        if self.state.gate == Gate::Wanted {
            self.state.gate = Gate::Requested;
            events::GateCommit.emit();
        }
        self.state.recording = Some(self.frames.upper());
        self.state.recorded = Some(progress);
        self.state.record_after = Instant::now() + self.config.publish.checkpoint_interval;
    }

    fn request_parked_keys(&mut self) {
        while self.state.reading_keys < KEYS_AT_ONCE
            && self.machine.has_room_for_parked()
            && self.state.stopping.is_none()
            && let Ok(permit) = self.to_parked_reader.try_reserve()
        {
            let Some(request) = self.machine.next_key_request() else {
                return;
            };
            permit.send(parked_reader::Command::ReadKey(request));
            self.state.reading_keys += 1;
        }
    }

    fn poll(&mut self) {
        if self.state.poll_state == PollState::Due
            && self.state.can_publish()
            && self.machine.has_room_for_parked()
            && self.state.stopping.is_none()
            && let Ok(permit) = self.to_parked_reader.try_reserve()
        {
            let in_progress = self.machine.parked_in_progress().clone();
            permit.send(parked_reader::Command::Poll { in_progress });
            self.state.poll_state = PollState::InProgress;
        }
    }

    fn wants_rows(&self) -> bool {
        self.machine.has_room() && self.state.gate == Gate::Open && self.state.stopping.is_none()
    }

    /// Returns `true` if a graceful stop is complete, or has reached its deadline.
    fn is_done(&mut self) -> bool {
        let Some(deadline) = self.state.stopping else {
            return false;
        };
        let settled = self.has_sent_all();
        let progress = self.machine.progress();
        // The stop does not wait for records of rows that another transaction has locked: without
        // them, messages are only sent again.
        let recorded = self.state.recording.is_none()
            && (self.state.locked || !self.machine.has_records())
            && self.state.recorded == Some(progress);
        (settled && recorded) || Instant::now() >= deadline
    }

    /// Returns `true` if nothing is in flight, and nothing is ready that could be sent now. A stop
    /// does not wait for a broker that is disconnected or takes no messages.
    fn has_sent_all(&self) -> bool {
        let may_go = self.state.can_publish() && self.machine.has_ready();
        self.machine.in_flight() == 0 && !may_go
    }

    fn next_wake(&self) -> Instant {
        let soon = Instant::now() + Duration::from_millis(50);
        let record = self
            .state
            .record_after
            .max(Instant::now() + Duration::from_millis(1));
        let waits = self.state.record_wanted || self.state.gate == Gate::Wanted;
        if waits && self.state.recording.is_none() {
            soon.min(record)
        } else {
            soon
        }
    }
}
