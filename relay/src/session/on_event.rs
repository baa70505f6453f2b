//! Handling of the events that the session's tasks report.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    engine::Engine,
    parked_reader,
    state::{Gate, PollState},
};
use crate::{
    broker,
    broker_state::State,
    error::RelayError,
    events::{self, MessagesSettled},
    frame_reader, lease,
    publish::Settled,
};

/// Number of dropped rows still in the table above which polls no longer follow one another at
/// once: each poll reads all of these rows.
const MAX_DROPPED: usize = 5_000;

/// Wait before locked rows are recorded again.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn on_lease(&mut self, event: lease::Event) -> Result<(), RelayError> {
        match event {
            lease::Event::Recorded { xid, write, locked } => {
                events::Checkpointed.emit();
                self.machine.written(&write, &locked);
                self.state.locked = !locked.is_empty();
                if self.state.locked {
                    self.state.record_after = Instant::now() + LOCKED_PAUSE;
                }
                if let Some(position) = self.state.recording.take() {
                    let floors = self.frames.recorded(xid, position).clone();
                    self.floors.send_replace(floors);
                }
                if self.state.gate == Gate::Requested {
                    self.state.gate = Gate::Open;
                }
                Ok(())
            }
            lease::Event::Lost(error) => Err(error.into()),
        }
    }

    pub(super) fn on_connection(&mut self, event: broker::Event) -> Result<(), RelayError> {
        match event {
            broker::Event::State(state) => {
                self.state.blocked = matches!(state, State::Blocked { .. });
                if matches!(state, State::Disconnected { .. } | State::Connecting) {
                    self.state.idle.clear();
                    self.state.channels.clear();
                }
                self.reporter.broker(&state);
            }
            broker::Event::Channels(channels) => {
                self.state.idle = (0..channels.len()).collect();
                self.state.channels = channels;
            }
            broker::Event::BatchDone(returned) => {
                let outcomes = returned.outcomes.into_iter();
                let settled =
                    outcomes.filter_map(|(row, outcome)| self.machine.settle(row, outcome));
                settled.collect::<MessagesSettled>().emit();
                let topics = self.machine.unbound_topics();
                if !topics.is_empty() {
                    events::Unbound { topics }.emit();
                }
                if returned.channel < self.state.channels.len() {
                    self.state.idle.push(returned.channel);
                }
            }
            broker::Event::Refused(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(super) fn on_reader(&mut self, event: frame_reader::Event) -> Result<(), RelayError> {
        match event {
            frame_reader::Event::Opened(frame) => {
                if !frame.durable {
                    self.state.gate = Gate::Wanted;
                }
                self.machine
                    .open_frame(frame.id, std::mem::take(&mut self.already_parked));
                self.frames.opened(frame);
            }
            frame_reader::Event::Rows { frame, rows } => {
                let rows = rows.into_iter();
                let settled = rows.filter_map(|row| self.machine.admit(frame, row));
                settled.collect::<MessagesSettled>().emit();
            }
            frame_reader::Event::Closed { frame } => self.machine.close_frame(frame),
            frame_reader::Event::EmptyScan { upper } => self.frames.empty_scan(upper),
            frame_reader::Event::Lost(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) fn on_parked_reader(
        &mut self,
        event: parked_reader::Event,
    ) -> Result<(), RelayError> {
        match event {
            parked_reader::Event::Due {
                keys,
                singles,
                more,
            } => {
                self.state.poll_state = PollState::NotDue;
                let in_progress = self.machine.parked_in_progress().len();
                for key in keys {
                    self.machine.retry_key(&key);
                }
                let singles = singles.into_iter();
                let settled = singles.filter_map(|single| self.machine.retry(single));
                settled.collect::<MessagesSettled>().emit();
                // Rows of an unresponsive topic would only be parked again.
                let found = self.machine.parked_in_progress().len() > in_progress;
                let few = self.machine.dropped() < MAX_DROPPED;
                if more && found && few && !self.machine.has_unresponsive() {
                    self.state.poll_state = PollState::Due;
                }
            }
            parked_reader::Event::KeyRows {
                request,
                rows,
                more,
            } => {
                self.state.reading_keys -= 1;
                let dropped = self.machine.take_key_rows(&request.key, rows, more);
                let settled = std::iter::repeat_n(Settled::Dropped, dropped);
                settled.collect::<MessagesSettled>().emit();
            }
            parked_reader::Event::Lost(error) => return Err(error),
        }
        Ok(())
    }
}
