//! Graceful stops: the relay reads nothing more, and goes on with the rows in memory.

use std::time::Duration;

use super::{timing::world, world::World};
use crate::capture::Position;

/// A relay that has read six messages of one key and had two confirmed; the first is recorded, the
/// third is in flight.
fn with_rows_in_memory() -> World {
    let mut world = world(6);
    world.read_all();
    world.settle(0, None);
    world.finish_record();
    world.settle(0, None);
    assert_eq!(world.in_flight(), [3]);
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
fn rows_that_are_not_recorded_in_time_are_sent_again_in_their_order() {
    let mut world = with_rows_in_memory();
    world.settle(0, None);
    // The broker takes the fourth, and the relay is gone before the confirm.
    world.begin_stop();
    assert_eq!(world.in_flight(), [4]);
    world.crash(u8::MAX, false);
    assert_eq!(received(world), [1, 2, 3, 4, 2, 3, 4, 5, 6]);
}

#[test]
fn a_stop_reads_no_rows_and_ends_at_its_deadline() {
    let mut world = world(6);
    world.read();
    world.read();
    world.begin_stop();
    assert!(!world.core.wants_rows());
    let shortly_before = world.time() + Duration::from_millis(19_999);
    assert!(!world.core.is_done(shortly_before));
    assert!(
        world
            .core
            .is_done(world.time() + world.limits.drain_timeout)
    );
}

/// Messages in flight may still be confirmed, but nothing more is sent.
#[test]
fn while_the_broker_takes_no_messages_a_stop_waits_for_those_in_flight_alone() {
    let mut world = with_rows_in_memory();
    world.finish_record();
    world.block(true);
    world.begin_stop();
    assert!(!world.core.is_done(world.time()), "a confirm is missing");
    world.settle(0, None);
    assert!(!world.core.is_done(world.time()), "a record is missing");
    world.finish_record();
    assert!(world.core.is_done(world.time()));
    assert!(world.core.machine().rows() > 0);
}

#[test]
fn a_stop_does_not_wait_for_a_broker_that_is_away() {
    let mut world = with_rows_in_memory();
    world.begin_stop();
    world.reconnect(0);
    world.finish_record();
    assert!(world.core.is_done(world.time()));
    world.crash(0, false);
    assert_eq!(received(world), [1, 2, 3, 4, 5, 6]);
}
