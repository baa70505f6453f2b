//! Order of sending, and the effect of outcomes.

use super::bench::{Bench, FRAME, blame, expired, row, settings, unkeyed};
use crate::publish::{Disposition, Due, Hold, Outcome, ParkedRow, Reason, Row, Settings, Settled};

#[test]
fn messages_without_a_key_are_pipelined() {
    let mut bench = Bench::new(settings());
    bench.admit((1..=3).map(unkeyed));
    assert_eq!(bench.batch(), [1, 2, 3]);
    bench.settle(2, Outcome::Confirmed);
    assert_eq!(bench.watermark(), None);
    bench.settle(1, Outcome::Confirmed);
    assert_eq!(bench.watermark(), Some(2));
}

#[test]
fn g4_one_message_of_a_key_is_in_flight() {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "k", "t"), row(2, "k", "t"), row(3, "other", "t")]);
    assert_eq!(bench.batch(), [1, 3]);
    assert_eq!(bench.settle(1, Outcome::Confirmed), Settled::Delivered);
    assert_eq!(bench.batch(), [2]);
}

#[test]
fn the_window_stops_the_reader() {
    let window_rows = 2;
    let mut bench = Bench::new(Settings {
        window_rows,
        ..settings()
    });
    bench.admit([unkeyed(1), unkeyed(2)]);
    assert!(!bench.machine.has_room());
    // Frames that fill every gap must not keep parked rows out.
    assert!(bench.machine.has_room_for_parked());
    bench.deliver_all();
    assert!(bench.machine.has_room());
}

#[test]
fn g3_messages_with_unknown_outcome_are_sent_again_oldest_first() {
    let mut bench = Bench::new(settings());
    bench.admit((1..=3).map(unkeyed));
    assert_eq!(bench.batch(), [1, 2, 3]);
    for position in [3, 1, 2] {
        let outcome = Outcome::Unknown { blame: None };
        assert_eq!(bench.settle(position, outcome), Settled::Requeued);
    }
    assert_eq!(bench.batch(), [1, 2, 3]);
}

#[test]
fn a_message_that_closes_channels_is_rejected_and_the_rest_of_its_batch_is_sent() {
    let mut bench = Bench::new(settings());
    bench.admit((1..=3).map(unkeyed));
    for position in bench.batch() {
        bench.settle(position, blame());
    }
    // From now on, each message is sent alone.
    assert_eq!(bench.batch(), [1]);
    assert_eq!(bench.batch(), [0; 0]);
    bench.settle(1, Outcome::Confirmed);
    assert_eq!(bench.batch(), [2]);
    assert_eq!(bench.settle(2, blame()), Settled::Requeued);
    assert_eq!(bench.batch(), [2]);
    let rejected = Settled::Parked(Reason::Rejected);
    assert_eq!(bench.settle(2, blame()), rejected);
    assert_eq!(bench.deliver_all(), [3]);
    let write = bench.commit();
    assert_eq!(write.parks.len(), 1);
    assert_eq!(write.parks[0].due, Due::Never);
    assert_eq!(write.parks[0].detail.as_deref(), Some("unexpected frame"));
}

#[test]
fn a_lost_connection_clears_the_suspicion_of_a_message() {
    let mut bench = Bench::new(settings());
    bench.admit([unkeyed(1)]);
    for outcome in [blame(), blame(), Outcome::Unknown { blame: None }, blame()] {
        assert_eq!(bench.batch(), [1]);
        assert_eq!(bench.settle(1, outcome), Settled::Requeued);
    }
}

#[test]
fn expired_rows_are_dropped_and_scheduled_ones_hold_nothing() {
    let mut bench = Bench::new(settings());
    let settled = bench.machine.admit(FRAME, expired(row(1, "k", "t")));
    assert_eq!(settled, Some(Settled::Dropped));
    let settled = bench.machine.admit(
        FRAME,
        Row {
            disposition: Disposition::Scheduled,
            ..row(2, "k", "t")
        },
    );
    assert_eq!(settled, Some(Settled::Parked(Reason::Scheduled)));
    bench.admit([row(3, "k", "t")]);
    assert_eq!(bench.deliver_all(), [3]);
    let write = bench.commit();
    let park = &write.parks[0];
    assert_eq!((park.position, park.due), (2, Due::AsScheduled));
    assert_eq!(park.hold, Hold::Nothing);
    assert_eq!(bench.watermark(), Some(3));
}

#[test]
fn rows_parked_by_an_earlier_session_are_skipped() {
    let mut bench = Bench::new(settings());
    bench.machine.open_frame(FRAME + 1, [1].into());
    assert_eq!(bench.machine.admit(FRAME + 1, unkeyed(1)), None);
    bench.machine.close_frame(FRAME);
    assert!(bench.batch().is_empty());
    assert_eq!(bench.watermark(), Some(1));
}

#[test]
fn g3_a_row_that_a_frame_brings_again_is_not_sent_beside_its_parked_copy() {
    let mut bench = Bench::new(settings());
    let parked = |position| ParkedRow {
        row: unkeyed(position),
        attempts: 1,
    };
    // The frame's copy of row 1 comes first, and the parked copy of row 2.
    bench.admit([unkeyed(1)]);
    assert_eq!(bench.machine.retry(parked(1)), None);
    bench.machine.retry(parked(2));
    bench.admit([unkeyed(2)]);
    assert_eq!(bench.batch(), [1, 2]);
    bench.settle(1, Outcome::Confirmed);
    bench.settle(2, Outcome::Confirmed);
    assert_eq!(bench.watermark(), Some(2));
    assert_eq!(bench.commit().forgets, [2]);
    assert!(bench.machine.is_idle());
}
