//! Graceful stops, and rows whose parking waits for earlier rows.

use super::bench::{Bench, row, settings, unkeyed};
use crate::publish::{Hold, Outcome, ParkedRow, Settled};

/// Four parked rows of one key are in memory; the first is in flight.
fn with_parked_rows_in_memory() -> Bench {
    let mut bench = Bench::new(settings());
    bench.machine.hold(&"k".into(), &"t".into(), Hold::Key);
    bench.retry_key();
    let rows = (1..=4).map(|position| row(position, "k", "t"));
    bench.page(0, rows.collect(), true);
    assert_eq!(bench.batch(), [1]);
    bench
}

#[test]
fn only_rows_before_a_confirmed_row_are_sent() {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "k", "t"), row(2, "k", "t"), unkeyed(3)]);
    bench.admit([row(4, "k", "t")]);
    assert_eq!(bench.batch(), [1, 3]);
    bench.settle(3, Outcome::Confirmed);
    bench.admit([unkeyed(5)]);
    bench.machine.wind_down();
    bench.settle(1, Outcome::Confirmed);
    assert_eq!(bench.deliver_all(), [2]);
    assert_eq!(bench.watermark(), Some(3));
    assert!(!bench.machine.has_ready());
}

#[test]
fn a_requeued_row_is_not_sent_again_if_no_row_after_it_was_confirmed() {
    let mut bench = Bench::new(settings());
    bench.admit([unkeyed(1)]);
    assert_eq!(bench.batch(), [1]);
    bench.machine.wind_down();
    assert_eq!(bench.settle(1, Outcome::Overdue), Settled::Requeued);
    assert!(!bench.machine.has_ready());
}

#[test]
fn a_requeued_row_is_sent_again_if_a_row_after_it_was_confirmed() {
    let mut bench = Bench::new(settings());
    bench.admit([unkeyed(1), unkeyed(2)]);
    assert_eq!(bench.batch(), [1, 2]);
    bench.machine.wind_down();
    assert_eq!(bench.settle(1, Outcome::Overdue), Settled::Requeued);
    bench.settle(2, Outcome::Confirmed);
    assert_eq!(bench.deliver_all(), [1]);
}

#[test]
fn parked_rows_stay_parked() {
    let mut bench = with_parked_rows_in_memory();
    bench.machine.wind_down();
    bench.settle(1, Outcome::Confirmed);
    assert!(bench.batch().is_empty());
    assert_eq!(bench.commit().forgets, [1]);
    assert!(bench.machine.parked_in_progress().is_empty());
}

#[test]
fn a_parked_row_that_is_requeued_stays_parked() {
    let mut bench = with_parked_rows_in_memory();
    bench.machine.wind_down();
    assert_eq!(bench.settle(1, Outcome::Overdue), Settled::Requeued);
    assert!(!bench.machine.has_ready());
    assert!(bench.machine.parked_in_progress().is_empty());
}

#[test]
fn rows_of_a_page_that_arrives_late_stay_parked() {
    let mut bench = Bench::new(settings());
    bench.machine.hold(&"k".into(), &"t".into(), Hold::Key);
    bench.retry_key();
    assert!(bench.machine.next_key_request().is_some());
    let (row, single) = (row(1, "k", "t"), unkeyed(2));
    bench.machine.wind_down();
    let attempts = 1;
    bench
        .machine
        .take_key_rows(&"k".into(), vec![ParkedRow { row, attempts }], true);
    bench.machine.retry(ParkedRow {
        row: single,
        attempts,
    });
    assert!(!bench.machine.has_ready());
    assert_eq!(bench.machine.rows(), 0);
}

/// Topic `s` of the key is held; its parked row 5 is in flight, and row 50 waits to be parked.
fn with_a_pending_park() -> Bench {
    let mut bench = Bench::new(settings());
    bench.machine.hold(&"k".into(), &"s".into(), Hold::Topic);
    bench.admit([row(40, "k", "b")]);
    assert_eq!(bench.batch(), [40]);
    bench.retry_key();
    bench.page(0, vec![row(5, "k", "s")], false);
    bench.admit([row(50, "k", "s")]);
    bench.settle(40, Outcome::Confirmed);
    assert_eq!(bench.batch(), [5]);
    bench
}

#[test]
fn only_frame_rows_delay_the_parking_of_rows_behind_them() {
    let mut bench = with_a_pending_park();
    assert_eq!(bench.parked(), [50]);
    assert_eq!(bench.watermark(), Some(50));
}

/// The queue of the parked row does not answer while others do.
#[test]
fn a_parked_row_that_is_retried_for_ever_does_not_hold_the_watermark() {
    let mut bench = with_a_pending_park();
    bench.admit([row(51, "k", "b")]);
    for other in 52..300 {
        assert!(bench.machine.has_room(), "no room at {other}");
        bench.admit([unkeyed(other)]);
        // The isolated topic has a separate batch.
        while !bench.batch().is_empty() {}
        bench.settle(other, Outcome::Confirmed);
        let answer = bench.machine.settle(5, Outcome::Overdue);
        assert!(matches!(answer, Some(Settled::Requeued) | None));
        bench.machine.park_unresponsive();
        bench.commit();
    }
    assert_eq!(bench.watermark(), Some(299));
}
