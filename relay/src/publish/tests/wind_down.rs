//! A graceful stop, and rows that wait for others to be out of memory.

use super::bench::{Bench, row, settings, unkeyed};
use crate::publish::{Hold, Outcome, ParkedRow, Settled};

/// Parked rows, of one key, in hand; the first has been handed out.
fn draining() -> Bench {
    let mut bench = Bench::new(settings());
    bench.machine.hold(&"k".into(), &"t".into(), Hold::Key);
    bench.drain();
    let rows = (1..=4).map(|position| row(position, "k", "t"));
    bench.page(0, rows.collect(), true);
    assert_eq!(bench.batch(), [1]);
    bench
}

#[test]
fn what_stands_before_something_confirmed_is_sent_and_nothing_else() {
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
fn what_came_back_is_not_sent_again_if_nothing_after_it_was_confirmed() {
    let mut bench = Bench::new(settings());
    bench.admit([unkeyed(1)]);
    assert_eq!(bench.batch(), [1]);
    bench.machine.wind_down();
    assert_eq!(bench.settle(1, Outcome::Overdue), Settled::Requeued);
    assert!(!bench.machine.has_ready());
}

#[test]
fn what_came_back_is_sent_again_if_something_after_it_was_confirmed() {
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
    let mut bench = draining();
    bench.machine.wind_down();
    bench.settle(1, Outcome::Confirmed);
    assert!(bench.batch().is_empty());
    assert_eq!(bench.commit().forgets, [1]);
    assert!(bench.machine.parked_in_hand().is_empty());
}

#[test]
fn a_parked_row_that_came_back_stays_parked() {
    let mut bench = draining();
    bench.machine.wind_down();
    assert_eq!(bench.settle(1, Outcome::Overdue), Settled::Requeued);
    assert!(!bench.machine.has_ready());
    assert!(bench.machine.parked_in_hand().is_empty());
}

#[test]
fn a_page_that_comes_late_stays_parked() {
    let mut bench = Bench::new(settings());
    bench.machine.hold(&"k".into(), &"t".into(), Hold::Key);
    bench.drain();
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

/// The key's topic `s` is held; row 5 of it is parked and in flight, and row 50 waits to be parked.
fn behind_a_parked_row() -> Bench {
    let mut bench = Bench::new(settings());
    bench.machine.hold(&"k".into(), &"s".into(), Hold::Topic);
    bench.admit([row(40, "k", "b")]);
    assert_eq!(bench.batch(), [40]);
    bench.drain();
    bench.page(0, vec![row(5, "k", "s")], false);
    bench.admit([row(50, "k", "s")]);
    bench.settle(40, Outcome::Confirmed);
    assert_eq!(bench.batch(), [5]);
    bench
}

#[test]
fn only_rows_of_frames_keep_others_from_being_parked_behind_their_key() {
    let mut bench = behind_a_parked_row();
    assert_eq!(bench.parked(), [50]);
    assert_eq!(bench.watermark(), Some(50));
}

/// Its queue does not answer while others do.
#[test]
fn a_parked_row_that_is_tried_again_and_again_holds_up_no_watermark() {
    let mut bench = behind_a_parked_row();
    bench.admit([row(51, "k", "b")]);
    for other in 52..300 {
        assert!(bench.machine.has_room(), "no room at {other}");
        bench.admit([unkeyed(other)]);
        // The topic in doubt has a batch of its own.
        while !bench.batch().is_empty() {}
        bench.settle(other, Outcome::Confirmed);
        let answer = bench.machine.settle(5, Outcome::Overdue);
        assert!(matches!(answer, Some(Settled::Requeued) | None));
        bench.machine.park_unresponsive();
        bench.commit();
    }
    assert_eq!(bench.watermark(), Some(299));
}
