//! Property test: random orders of events.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{
    broker::{Broker, QUEUES},
    message::Message,
    steps::{Step, TOPICS, limits, settings, step},
    world::{Link, Recording, World},
};
use crate::capture::Position;

fn key(number: u8) -> Arc<str> {
    format!("k{number}").into()
}

impl World {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write {
                key: number,
                topic,
                time,
                harm,
                stay_open,
            } => {
                let message = Message {
                    position: self.outbox.len() as Position + 1,
                    key: number.map(key),
                    topic: TOPICS[topic].into(),
                    time,
                    harm,
                };
                self.write(message, stay_open);
            }
            Step::Commit(number) => self.commit(number.map(key).as_ref()),
            Step::Capture(durable) => self.capture(durable),
            Step::Read(rows) => (0..rows).for_each(|_| self.read()),
            Step::Settle(which, lost) => self.settle(which, lost),
            Step::Unsend(which) => self.unsend(which),
            Step::Record => self.record(),
            Step::Ask => self.ask(),
            Step::Answer(which) => self.answer(which),
            Step::Poll => self.poll(),
            Step::Tick(by) => {
                self.now += by;
                self.run_commands();
            }
            Step::Bind(topic, queue) => self.broker.bind(&TOPICS[topic].into(), queue),
            Step::Unbind(topic, queue) => self.broker.unbind(&TOPICS[topic].into(), queue),
            Step::Fill(queue, full) => self.broker.fill(queue, full),
            Step::Silence(queue) => self.broker.silence(queue),
            Step::Resume(queue, kept) => self.broker.resume(queue, kept),
            Step::Lock(which) => self.lock(which),
            Step::Revive(which) => {
                if let Some(position) = self.table.nth(which) {
                    self.table.revive(position, self.now);
                }
            }
            Step::Discard(which) => {
                if let Some(position) = self.table.nth(which) {
                    self.discard(position);
                }
            }
            Step::Crash(reached, merge) => self.crash(reached, merge),
            Step::BeginStop => self.begin_stop(),
            Step::Reconnect(reached) => self.reconnect(reached),
            Step::Block(blocked) => self.block(blocked),
            Step::Silent(silent) => {
                let age = self.limits.lease_timeout * u32::from(silent);
                self.lease_age = age;
            }
            Step::Stop(merge) => self.stop(merge),
            Step::StopWithin(rounds, merge) => self.stop_within(rounds, merge),
        }
        self.check_counters();
    }

    /// Unlocks all rows, makes every queue answer, and commits all transactions.
    fn restore(&mut self) {
        self.locked.clear();
        for topic in TOPICS {
            self.broker.bind(&topic.into(), 0);
        }
        for queue in 0..QUEUES {
            self.broker.fill(queue, false);
            self.broker.resume(queue, 0b0101_0101);
        }
        let open: Vec<_> = self.open.keys().cloned().collect();
        for key in &open {
            self.commit(key.as_ref());
        }
        self.capture(false);
        self.lease_age = Duration::ZERO;
        if self.link == Link::Lost {
            self.connect();
        }
        self.block(false);
    }

    fn is_quiet(&self) -> bool {
        let recorded = matches!(self.recording, Recording::None);
        let delivered = self.finished() == self.frames.len();
        let machine = self.core.machine();
        let nothing_asked = self.pages.is_empty() && machine.wants_no_page();
        let empty = self.table.rows.is_empty() && self.batches.is_empty();
        recorded && delivered && nothing_asked && empty && machine.is_idle()
    }

    /// Runs until nothing is left to do; an operator discards the messages that can never be
    /// published.
    pub(super) fn run_to_quiescence(&mut self) {
        let rounds = 40 + 30 * self.outbox.len();
        for _ in 0..rounds {
            if self.is_quiet() {
                return;
            }
            (0..4).for_each(|_| self.read());
            self.settle(0, None);
            self.record();
            self.ask();
            self.answer(0);
            self.poll();
            for position in self.table.rows.keys().copied().collect::<Vec<_>>() {
                let row = &self.table.rows[&position];
                if self.rejected.contains(&position) && !row.discarded {
                    self.discard(position);
                }
            }
            self.now += 10;
        }
        panic!("no end after {rounds} rounds: {self:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn g3_g4_nothing_is_lost_and_every_key_stays_in_order(
        settings in settings(),
        limits in limits(),
        page_rows in 1_usize..5,
        bound in prop::collection::vec((0..TOPICS.len(), 0..QUEUES), 0..8),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let bound: Vec<(Arc<str>, usize)> =
            bound.into_iter().map(|(topic, queue)| (TOPICS[topic].into(), queue)).collect();
        let mut world = World::new(settings, limits, page_rows, Broker::new(&bound));
        for step in &steps {
            world.step(step);
        }
        if world.stopping {
            world.stop(false);
        }
        world.restore();
        world.run_to_quiescence();
        world.check_in_the_end();
    }
}
