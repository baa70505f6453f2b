//! Ends of relays: another begins at the committed checkpoint.

use std::time::Duration;

use super::world::{Link, Reader, Recording, World};
use crate::{
    capture::Position,
    publish::Machine,
    session::{Core, Event},
};

/// Rounds within which a graceful stop must end, unless a queue is silent.
const ROUNDS_OF_A_STOP: usize = 300;

impl World {
    /// Begins a graceful stop of the relay.
    pub(super) fn begin_stop(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.handle(Event::Stop);
        }
    }

    /// Stops the relay gracefully, with time for everything; another takes over.
    pub(super) fn stop(&mut self, merge: bool) {
        let complete = self.finish(ROUNDS_OF_A_STOP);
        assert!(
            complete || self.broker.has_silent_queue(),
            "the stop does not end: {self:#?}"
        );
        self.crash(0, merge);
    }

    /// Stops the relay gracefully after `rounds` at most; another takes over.
    pub(super) fn stop_within(&mut self, rounds: usize, merge: bool) {
        self.finish(rounds);
        self.crash(0, merge);
    }

    /// Goes on with the rows in memory and reads nothing more. Returns `true` if the stop is
    /// complete within so many rounds.
    fn finish(&mut self, rounds: usize) -> bool {
        self.lease_age = Duration::ZERO;
        self.begin_stop();
        let complete = (0..rounds).any(|_| {
            self.settle(0, None);
            self.record();
            self.now += 10;
            let now = self.time();
            self.core.is_done(now)
        });
        if complete {
            // While the broker is away, the stop leaves the other rows to the next relay.
            let is_away = self.link != Link::Ready;
            assert!(is_away || self.core.machine().rows() == 0);
            if self.core.machine().rows() == 0 {
                self.check_nothing_repeats();
            }
        }
        complete
    }

    /// Ends the relay at once; another takes over from the committed checkpoint.
    pub(super) fn crash(&mut self, reached: u8, merge: bool) {
        for (_, batch) in std::mem::take(&mut self.batches) {
            self.broker.take(&self.messages(&batch), Some(reached));
        }
        (self.pages, self.poll) = (Vec::new(), None);
        self.recording = Recording::None;
        self.stopping = false;
        self.seen_confirmed.clear();
        // The snapshot of the unfinished frame is recorded; later snapshots are taken anew.
        let unfinished = self.finished() + 1;
        if merge && self.frames.len() > unfinished {
            let mut later: Vec<Position> = self.frames.drain(unfinished..).flatten().collect();
            later.sort_unstable();
            self.frames.push(later);
        }
        let watermark = self.watermark();
        self.reader = Reader {
            frame: self.finished(),
            opened: false,
            after: watermark,
        };
        let mut machine = Machine::new(self.settings.clone());
        let held = self.table.held();
        for held in &held {
            machine.hold(&held.key, &held.topic, held.hold);
        }
        for held in held.iter().filter(|held| held.orphaned) {
            machine.retry_key(&held.key);
        }
        let above = |position: &&Position| **position > watermark;
        let already_parked = self.table.rows.keys().filter(above).copied().collect();
        let (start, now) = (self.checkpoint.clone(), self.time());
        self.core = Core::new(self.limits, machine, start, already_parked, now);
        self.connect();
    }
}
