//! The loop between the machine and the tasks that do its I/O. It decides nothing itself.

use std::{collections::HashSet, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    frames::Frames,
    retries,
    work::{Gate, Look, Work},
};
use crate::{
    broker::{self, Order},
    capture::{Floors, Position, reader},
    config::Config,
    error::RelayError,
    events::{self, MessagesSettled},
    health::Reporter,
    lease::{self, Proof},
    message::Message,
    publish::{Machine, Outcome, Reason, Settled},
};

/// Most drains that are read at a time: their rows are taken however little room is left.
const DRAINS: usize = 4;

/// How often parked rows are looked at.
const DUE_INTERVAL: Duration = Duration::from_millis(500);

/// What the tasks report.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) reader: mpsc::Receiver<reader::Event>,
    pub(super) retries: mpsc::Receiver<retries::Event>,
    pub(super) keeper: mpsc::Receiver<lease::Event>,
    pub(super) link: mpsc::Receiver<broker::Event>,
}

/// Feeds the machine and carries out what it decides.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) machine: Machine<Message>,
    pub(super) frames: Frames,
    pub(super) already_parked: HashSet<Position>,
    pub(super) floors: watch::Sender<Floors>,
    pub(super) proof: Proof,
    pub(super) to_keeper: mpsc::Sender<lease::Command>,
    pub(super) to_retries: mpsc::Sender<retries::Command>,
    pub(super) reporter: Reporter,
    pub(super) config: Config,
    pub(super) work: Work,
}

impl Engine {
    /// Runs until everything that was sent is recorded after `shutdown`, or until something is lost.
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
            self.park_stuck();
            self.order();
            self.record();
            self.poll();
            self.ask_for_drains();
            if self.is_done() {
                return Ok(());
            }
            let wake = self.next_wake();
            tokio::select! {
                event = inputs.keeper.recv() => {
                    self.on_keeper(event.ok_or(RelayError::Task)?)?;
                }
                event = inputs.link.recv() => {
                    self.on_link(event.ok_or(RelayError::Task)?)?;
                }
                event = inputs.reader.recv(), if self.wants_rows() => {
                    self.on_reader(event.ok_or(RelayError::Task)?)?;
                }
                event = inputs.retries.recv() => {
                    self.on_retries(event.ok_or(RelayError::Task)?)?;
                }
                () = shutdown.cancelled(), if self.work.stopping.is_none() => {
                    self.work.stopping = Some(Instant::now() + self.config.lease.drain_timeout);
                    self.machine.wind_down();
                }
                _ = due.tick() => {
                    if self.work.look == Look::NotDue {
                        self.work.look = Look::Due;
                    }
                    let (rows, held_keys) = (self.machine.rows(), self.machine.held_keys());
                    let oldest = self.machine.least(Message::due_at);
                    events::Window { rows, held_keys, oldest }.emit();
                }
                _ = maintenance.tick() => {
                    let settled_below = self.frames.settled_below();
                    // If the keeper is busy, another time will do.
                    drop(self.to_keeper.try_send(lease::Command::Maintain { settled_below }));
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    fn park_stuck(&mut self) {
        let stuck = self.machine.park_stuck();
        let stuck = std::iter::repeat_n(Settled::Parked(Reason::Nacked), stuck);
        let behind = self.machine.take_parked_behind();
        let behind = std::iter::repeat_n(Settled::Parked(Reason::Behind), behind);
        stuck.chain(behind).collect::<MessagesSettled>().emit();
    }

    /// Hands batches to channels that wait for one.
    fn order(&mut self) {
        while !self.work.blocked
            && self.machine.has_ready()
            && let Some(&channel) = self.work.idle.last()
        {
            // Checked before every batch: a relay that may have lost its lease publishes nothing.
            if !self.proof.is_fresh() {
                return;
            }
            let batch = self.machine.next_batch(self.config.amqp.batch);
            if batch.is_empty() {
                return;
            }
            self.work.idle.pop();
            let apart = self.machine.is_apart(&batch);
            if let Err(refused) = self.work.channels[channel].try_send(Order { batch, apart }) {
                // The link gave the connection up a moment ago.
                let (mpsc::error::TrySendError::Full(order)
                | mpsc::error::TrySendError::Closed(order)) = refused;
                for row in order.batch {
                    self.machine.settle(row.position, Outcome::Unsent);
                }
                return;
            }
        }
    }

    /// Records progress, parked rows and the gate's commit, all in one statement.
    fn record(&mut self) {
        if self.work.recording.is_some() {
            return;
        }
        let progress = self.machine.progress();
        let changed = self.machine.has_records()
            || self.work.recorded != Some(progress)
            || self.frames.want_a_floor();
        let hurries = self.work.stopping.is_some() && !self.work.locked && self.has_sent_all();
        let due = hurries || Instant::now() >= self.work.record_after;
        self.work.record_wanted = changed;
        if self.work.gate != Gate::Wanted && !(changed && due) {
            return;
        }
        let Ok(permit) = self.to_keeper.try_reserve() else {
            return;
        };
        let checkpoint = Box::new(self.frames.checkpoint(progress));
        let write = self.machine.take_write();
        permit.send(lease::Command::Record { checkpoint, write });
        if self.work.gate == Gate::Wanted {
            self.work.gate = Gate::Asked;
            events::GateCommit.emit();
        }
        self.work.recording = Some(self.frames.upper());
        self.work.recorded = Some(progress);
        self.work.record_after = Instant::now() + self.config.publish.checkpoint_interval;
    }

    fn ask_for_drains(&mut self) {
        while self.work.draining < DRAINS
            && self.machine.has_room_for_parked()
            && self.work.stopping.is_none()
            && let Ok(permit) = self.to_retries.try_reserve()
        {
            let Some(request) = self.machine.next_drain() else {
                return;
            };
            permit.send(retries::Command::Drain(request));
            self.work.draining += 1;
        }
    }

    fn poll(&mut self) {
        if self.work.look == Look::Due
            && self.work.can_publish()
            && self.machine.has_room_for_parked()
            && self.work.stopping.is_none()
            && let Ok(permit) = self.to_retries.try_reserve()
        {
            let in_hand = self.machine.parked_in_hand().clone();
            permit.send(retries::Command::Poll { in_hand });
            self.work.look = Look::UnderWay;
        }
    }

    fn wants_rows(&self) -> bool {
        self.machine.has_room() && self.work.gate == Gate::Open && self.work.stopping.is_none()
    }

    /// Whether a graceful stop is complete, or has taken too long.
    fn is_done(&mut self) -> bool {
        let Some(deadline) = self.work.stopping else {
            return false;
        };
        let settled = self.has_sent_all();
        let progress = self.machine.progress();
        // What concerns rows that somebody has locked would cost a repetition: nobody waits for that.
        let recorded = self.work.recording.is_none()
            && (self.work.locked || !self.machine.has_records())
            && self.work.recorded == Some(progress);
        (settled && recorded) || Instant::now() >= deadline
    }

    /// Whether nothing is in flight, and nothing may go that still could. While the broker is away or takes
    /// nothing, nobody waits for it.
    fn has_sent_all(&self) -> bool {
        let may_go = self.work.can_publish() && self.machine.has_ready();
        self.machine.in_flight() == 0 && !may_go
    }

    fn next_wake(&self) -> Instant {
        let soon = Instant::now() + Duration::from_millis(50);
        let record = self
            .work
            .record_after
            .max(Instant::now() + Duration::from_millis(1));
        let waits = self.work.record_wanted || self.work.gate == Gate::Wanted;
        if waits && self.work.recording.is_none() {
            soon.min(record)
        } else {
            soon
        }
    }
}
