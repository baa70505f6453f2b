//! What the tasks report, brought to the machine.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    engine::Engine,
    retries,
    work::{Gate, Look},
};
use crate::{
    broker::{self, State},
    capture::reader,
    error::RelayError,
    events::{self, MessagesSettled},
    lease,
    publish::Settled,
};

/// Above so many rows that are dropped and still in the table, looks take their time: each meets all of them.
const MOST_DROPPED: usize = 5_000;

/// Before rows that somebody has locked are tried again.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn on_keeper(&mut self, event: lease::Event) -> Result<(), RelayError> {
        match event {
            lease::Event::Recorded { xid, write, locked } => {
                events::Checkpointed.emit();
                self.machine.written(&write, &locked);
                self.work.locked = !locked.is_empty();
                if self.work.locked {
                    self.work.record_after = Instant::now() + LOCKED_PAUSE;
                }
                if let Some(position) = self.work.recording.take() {
                    let floors = self.frames.recorded(xid, position).clone();
                    self.floors.send_replace(floors);
                }
                if self.work.gate == Gate::Asked {
                    self.work.gate = Gate::Open;
                }
                Ok(())
            }
            lease::Event::Lost(error) => Err(error.into()),
        }
    }

    pub(super) fn on_link(&mut self, event: broker::Event) -> Result<(), RelayError> {
        match event {
            broker::Event::State(state) => {
                self.work.blocked = matches!(state, State::Blocked { .. });
                if matches!(state, State::Disconnected { .. } | State::Connecting) {
                    self.work.idle.clear();
                    self.work.channels.clear();
                }
                self.reporter.broker(&state);
            }
            broker::Event::Channels(channels) => {
                self.work.idle = (0..channels.len()).collect();
                self.work.channels = channels;
            }
            broker::Event::Returned(returned) => {
                let outcomes = returned.outcomes.into_iter();
                let settled =
                    outcomes.filter_map(|(row, outcome)| self.machine.settle(row, outcome));
                settled.collect::<MessagesSettled>().emit();
                let topics = self.machine.unbound_topics();
                if !topics.is_empty() {
                    events::Unbound { topics }.emit();
                }
                if returned.channel < self.work.channels.len() {
                    self.work.idle.push(returned.channel);
                }
            }
            broker::Event::Refused(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(super) fn on_reader(&mut self, event: reader::Event) -> Result<(), RelayError> {
        match event {
            reader::Event::Opened(frame) => {
                if !frame.durable {
                    self.work.gate = Gate::Wanted;
                }
                self.machine
                    .open_frame(frame.id, std::mem::take(&mut self.already_parked));
                self.frames.opened(frame);
            }
            reader::Event::Rows { frame, rows } => {
                let rows = rows.into_iter();
                let settled = rows.filter_map(|row| self.machine.admit(frame, row));
                settled.collect::<MessagesSettled>().emit();
            }
            reader::Event::Closed { frame } => self.machine.close_frame(frame),
            reader::Event::Fruitless { upper } => self.frames.fruitless(upper),
            reader::Event::Lost(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) fn on_retries(&mut self, event: retries::Event) -> Result<(), RelayError> {
        match event {
            retries::Event::Due {
                keys,
                singles,
                more,
            } => {
                self.work.look = Look::NotDue;
                let in_hand = self.machine.parked_in_hand().len();
                for key in keys {
                    self.machine.drain(&key);
                }
                let singles = singles.into_iter();
                let settled = singles.filter_map(|single| self.machine.retry(single));
                settled.collect::<MessagesSettled>().emit();
                // Those of a stuck topic would only be parked again.
                let found = self.machine.parked_in_hand().len() > in_hand;
                let few = self.machine.dropped() < MOST_DROPPED;
                if more && found && few && !self.machine.has_stuck() {
                    self.work.look = Look::Due;
                }
            }
            retries::Event::Drained {
                request,
                rows,
                more,
            } => {
                self.work.draining -= 1;
                let dropped = self.machine.drained(&request.key, rows, more);
                let settled = std::iter::repeat_n(Settled::Dropped, dropped);
                settled.collect::<MessagesSettled>().emit();
            }
            retries::Event::Lost(error) => return Err(error),
        }
        Ok(())
    }
}
