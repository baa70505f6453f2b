//! Rows whose parking waits for earlier rows.

use super::bench::{Bench, row, settings, unkeyed};
use crate::publish::{Hold, Outcome, Settled};

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
