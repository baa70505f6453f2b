//! Graceful stops: the relay reads nothing more, and goes on with the rows in memory.

use super::{
    bench::settings,
    broker::Broker,
    message::{Harm, Message, Time},
    world::World,
};
use crate::capture::Position;

/// A relay that has read six messages of one key, sent two, and recorded the first.
fn with_rows_in_memory() -> World {
    let topic = "t".into();
    let mut world = World::new(settings(), 10, Broker::new(&[(topic, 0)]));
    for position in 1..=6 {
        let message = Message {
            position,
            key: Some("k".into()),
            topic: "t".into(),
            time: Time::Any,
            harm: Harm::None,
        };
        world.write(message, false);
    }
    world.capture();
    (0..6).for_each(|_| world.read());
    for row in 0..2 {
        world.publish(10);
        world.settle(0, None);
        // Taken, committed, and known to be committed.
        (0..3).filter(|_| row == 0).for_each(|_| world.record());
    }
    world
}

/// Returns the messages that the queue received until everything is delivered.
fn received(mut world: World) -> Vec<Position> {
    world.run_to_quiescence();
    world.check_in_the_end();
    world.broker.queues[0].clone()
}

#[test]
fn all_rows_in_memory_are_sent_and_nothing_repeats() {
    let mut world = with_rows_in_memory();
    world.stop(false);
    assert_eq!(world.broker.queues[0], [1, 2, 3, 4, 5, 6]);
    assert_eq!(received(world), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn rows_that_are_not_recorded_in_time_are_sent_again() {
    let mut world = with_rows_in_memory();
    world.stop_within(0, false);
    assert_eq!(received(world), [1, 2, 2, 3, 4, 5, 6]);
}

#[test]
fn a_row_in_flight_at_the_end_is_sent_again_in_its_order() {
    let mut world = with_rows_in_memory();
    world.publish(10);
    assert_eq!(world.batches, [[3]]);
    // The broker takes the row, and the relay is gone before the confirm.
    world.crash(u8::MAX, false);
    assert_eq!(received(world), [1, 2, 3, 2, 3, 4, 5, 6]);
}
