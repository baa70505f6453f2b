//! Effects of events.

use std::time::Instant;

use super::{Command, Core, Event, Report, frame_reader, lease, parked_reader};
use crate::publish::{Outcome, Reason, Settled};

impl<M> Core<M> {
    /// Applies an event.
    pub fn handle(&mut self, event: Event<M>, now: Instant) {
        match event {
            Event::Reader(event) => self.on_reader(event),
            Event::ParkedReader(event) => self.on_parked_reader(event),
            Event::Recorded(recorded) => self.on_recorded(recorded, now),
            Event::Channels(count) => self.channels.opened(count),
            Event::Disconnected => self.channels.lost(),
            Event::Blocked(blocked) => self.channels.block(blocked),
            Event::BatchDone { channel, outcomes } => {
                let machine = &mut self.machine;
                let outcomes = outcomes.into_iter();
                let settled = outcomes.filter_map(|(row, outcome)| machine.settle(row, outcome));
                let settled = settled.collect();
                self.report(Report::Settled(settled));
                let topics = self.machine.unbound_topics();
                if !topics.is_empty() {
                    self.report(Report::Unbound(topics));
                }
                self.channels.done(channel);
            }
            Event::Unsent(batch) => {
                for row in batch {
                    self.machine.settle(row.position, Outcome::Unsent);
                }
            }
            Event::PollDue => self.parked.poll_due(),
            Event::MaintenanceDue => {
                let settled_below = self.recorder.settled_below();
                let maintain = lease::Command::Maintain { settled_below };
                self.ready.push_back(Command::Lease(maintain));
            }
            Event::Stop => self.stopping = Some(now + self.limits.drain_timeout),
        }
        self.park_unresponsive();
    }

    fn on_reader(&mut self, event: frame_reader::Event<M>) {
        match event {
            frame_reader::Event::Opened(frame) => {
                let already_parked = std::mem::take(&mut self.already_parked);
                self.machine.open_frame(frame.id, already_parked);
                self.awaits_frame = false;
                self.recorder.opened(frame);
            }
            frame_reader::Event::Rows { frame, rows } => {
                let machine = &mut self.machine;
                let settled = rows.into_iter().filter_map(|row| machine.admit(frame, row));
                let settled = settled.collect();
                self.report(Report::Settled(settled));
            }
            frame_reader::Event::Closed { frame } => self.machine.close_frame(frame),
            frame_reader::Event::EmptyScan { upper } => self.recorder.empty_scan(upper),
        }
    }

    fn on_parked_reader(&mut self, event: parked_reader::Event<M>) {
        let settled = match event {
            parked_reader::Event::Due {
                keys,
                singles,
                more,
            } => self.parked.due(&mut self.machine, &keys, singles, more),
            parked_reader::Event::KeyRows {
                request,
                rows,
                more,
            } => {
                self.parked.read_key();
                let dropped = self.machine.take_key_rows(&request.key, rows, more);
                vec![Settled::Dropped; dropped]
            }
        };
        self.report(Report::Settled(settled));
    }

    fn on_recorded(&mut self, recorded: lease::Recorded, now: Instant) {
        let lease::Recorded { xid, write, locked } = recorded;
        self.report(Report::Checkpointed);
        self.machine.written(&write, &locked);
        let floors = self.recorder.recorded(xid, !locked.is_empty(), now);
        self.ready.extend(floors.map(Command::Floors));
    }

    fn park_unresponsive(&mut self) {
        let unresponsive = self.machine.park_unresponsive();
        let behind = self.machine.take_parked_behind();
        if unresponsive + behind > 0 {
            let mut settled = vec![Settled::Parked(Reason::Nacked); unresponsive];
            settled.resize(unresponsive + behind, Settled::Parked(Reason::Behind));
            self.report(Report::Settled(settled));
        }
    }

    pub(super) fn report(&mut self, report: Report) {
        self.ready.push_back(Command::Report(report));
    }
}
