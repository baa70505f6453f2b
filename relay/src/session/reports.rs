//! What the tasks report, brought to the machine.

use super::{
    engine::{Engine, Gate},
    retries,
};
use crate::{
    broker::{self, State},
    capture::reader,
    error::RelayError,
    events, lease,
    publish::Settled,
};

impl Engine {
    pub(super) fn on_keeper(&mut self, event: lease::Event) -> Result<(), RelayError> {
        match event {
            lease::Event::Recorded { xid, write } => {
                events::Checkpointed.emit();
                self.machine.written(&write);
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
                for (position, outcome) in returned.outcomes {
                    if let Some(settled) = self.machine.settle(position, outcome) {
                        events::MessageSettled { settled }.emit();
                    }
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
                for row in rows {
                    if let Some(settled) = self.machine.admit(frame, row) {
                        events::MessageSettled { settled }.emit();
                    }
                }
            }
            reader::Event::Closed { frame } => self.machine.close_frame(frame),
            reader::Event::Lost(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) fn on_retries(&mut self, event: retries::Event) -> Result<(), RelayError> {
        match event {
            retries::Event::Due { keys, singles } => {
                self.work.polling = false;
                for key in keys {
                    self.machine.drain(&key);
                }
                for single in singles {
                    if let Some(settled) = self.machine.retry(single) {
                        events::MessageSettled { settled }.emit();
                    }
                }
            }
            retries::Event::Drained {
                request,
                rows,
                more,
            } => {
                for _ in 0..self.machine.drained(&request.key, rows, more) {
                    events::MessageSettled {
                        settled: Settled::Dropped,
                    }
                    .emit();
                }
            }
            retries::Event::Lost(error) => return Err(error),
        }
        Ok(())
    }
}
