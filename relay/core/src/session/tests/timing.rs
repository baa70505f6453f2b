//! Times of batches, records and polls.

use std::time::Duration;

use super::{
    broker::Broker,
    message::{Harm, Message, Time},
    steps::settings_of,
    world::{Poll, Recording, World},
};
use crate::{
    capture::Position,
    session::{Event, Limits},
};

const SECOND: Duration = Duration::from_secs(1);

/// A relay before a frame with so many messages of one key, to whose topic a queue is bound.
pub(super) fn world(messages: Position) -> World {
    let limits = Limits {
        batch: 10,
        checkpoint_interval: Duration::from_millis(50),
        lease_timeout: 10 * SECOND,
        drain_timeout: 20 * SECOND,
    };
    let mut world = World::new(
        settings_of(100, 10, 100),
        limits,
        10,
        Broker::new(&[("t".into(), 0)]),
    );
    for position in 1..=messages {
        let message = Message {
            position,
            key: Some("k".into()),
            topic: "t".into(),
            time: Time::Any,
            harm: Harm::None,
        };
        world.write(message, false);
    }
    world.capture(true);
    world
}

impl World {
    pub(super) fn in_flight(&self) -> Vec<Position> {
        let batches = self.batches.iter();
        batches.flat_map(|(_, batch)| batch.clone()).collect()
    }

    pub(super) fn read_all(&mut self) {
        while self.core.wants_rows() && self.reader.frame < self.frames.len() {
            self.read();
        }
    }

    /// Lets time pass, and carries out the commands that are due then.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time.as_millis() as u64;
        self.run_commands();
    }

    /// Lets the next record become due, and commits it.
    pub(super) fn finish_record(&mut self) {
        self.wait(self.limits.checkpoint_interval);
        (0..2).for_each(|_| self.record());
        self.wait(self.limits.checkpoint_interval);
        while !matches!(self.recording, Recording::None) {
            self.record();
        }
    }
}

#[test]
fn g2_rows_that_are_not_durable_wait_for_a_record() {
    let mut world = world(0);
    world.finish_record();
    world.write(unkeyed(1), false);
    world.capture(false);
    world.read();
    assert!(!world.core.wants_rows(), "the gate is closed");
    assert!(matches!(world.recording, Recording::Sent(..)));
    world.record();
    assert!(!world.core.wants_rows(), "the commit is not known");
    world.record();
    world.read();
    assert_eq!(world.in_flight(), [1]);
}

#[test]
fn g7_nothing_is_sent_once_the_lease_is_overdue() {
    let mut world = world(2);
    world.lease_age = 9 * SECOND;
    world.read_all();
    assert_eq!(world.in_flight(), [0; 0]);
    world.lease_age = Duration::from_millis(8_999);
    world.run_commands();
    assert_eq!(world.in_flight(), [1]);
}

#[test]
fn records_keep_their_interval_and_an_idle_relay_records_nothing() {
    let mut world = world(2);
    world.read_all();
    world.finish_record();
    world.settle(0, None);
    (0..2).for_each(|_| world.record());
    world.settle(0, None);
    assert!(matches!(world.recording, Recording::None), "too soon");
    let wake = world.core.next_wake(world.time());
    assert!(wake <= world.time() + world.limits.checkpoint_interval);
    world.wait(world.limits.checkpoint_interval);
    assert!(matches!(world.recording, Recording::Sent(..)));
    world.finish_record();
    assert_eq!((world.finished(), world.watermark()), (1, 0));
    world.wait(SECOND);
    assert!(matches!(world.recording, Recording::None), "idle");
}

#[test]
fn locked_rows_are_recorded_again_after_a_pause() {
    let mut world = world(0);
    world.broker.unbind(&"t".into(), 0);
    world.write(unkeyed(1), false);
    world.capture(true);
    world.read_all();
    world.settle(0, None);
    world.finish_record();
    world.broker.bind(&"t".into(), 0);
    world.wait(10 * SECOND);
    (0..3).for_each(|_| world.poll());
    assert_eq!(world.in_flight(), [1]);
    world.lock(0);
    world.settle(0, None);
    world.wait(SECOND);
    (0..2).for_each(|_| world.record());
    assert!(world.table.rows.contains_key(&1));
    world.wait(Duration::from_millis(999));
    assert!(matches!(world.recording, Recording::None));
    world.lock(0);
    world.wait(Duration::from_millis(1));
    world.record();
    assert!(world.table.rows.is_empty());
}

#[test]
fn parked_rows_are_polled_once_at_a_time_and_not_while_the_broker_is_away() {
    let mut world = world(0);
    world.reconnect(0);
    world.handle(Event::PollDue);
    assert!(world.poll.is_none());
    world.reconnect(0);
    assert!(matches!(world.poll, Some(Poll::Asked(_))));
    // A second poll would replace the first: `run_commands` asserts that there is none.
    world.handle(Event::PollDue);
    world.begin_stop();
    (0..2).for_each(|_| world.poll());
    world.handle(Event::PollDue);
    assert!(world.poll.is_none(), "a stop loads no parked rows");
}

fn unkeyed(position: Position) -> Message {
    Message {
        position,
        key: None,
        topic: "t".into(),
        time: Time::Any,
        harm: Harm::None,
    }
}
