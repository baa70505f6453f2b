//! Holds of parked rows, and the retries of their keys.

use super::bench::{Bench, FRAME, expired, row, settings};
use crate::publish::{Due, Hold, Outcome, Reason, Settings};

#[test]
fn g4_an_unroutable_message_holds_only_its_topic() {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "k", "a"), row(2, "k", "b"), row(3, "k", "a")]);
    assert_eq!(bench.batch(), [1]);
    bench.settle(1, Outcome::Unroutable);
    assert_eq!(bench.deliver_all(), [2]);
    let write = bench.commit();
    let parks: Vec<_> = write
        .parks
        .iter()
        .map(|park| (park.position, park.reason, park.hold))
        .collect();
    let expected = [
        (1, Reason::Unroutable, Hold::Topic),
        (3, Reason::Behind, Hold::Topic),
    ];
    assert_eq!(parks, expected);
    assert_eq!(bench.watermark(), Some(3));
}

#[test]
fn g4_a_nacked_message_holds_its_key() {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "k", "a"), row(2, "k", "b"), row(3, "other", "b")]);
    assert_eq!(bench.batch(), [1, 3]);
    bench.settle(1, Outcome::Nacked);
    assert_eq!(bench.machine.take_parked_behind(), 1, "row 2");
    bench.admit([row(4, "k", "c")]);
    assert_eq!(
        bench.machine.take_parked_behind(),
        0,
        "row 4 was reported by `admit`"
    );
    assert!(bench.batch().is_empty());
    let write = bench.commit();
    assert!(write.parks.iter().all(|park| park.hold == Hold::Key));
    let due: Vec<_> = write
        .parks
        .iter()
        .map(|park| park.due != Due::Never)
        .collect();
    assert_eq!(due, [true, false, false]);
}

/// Row 1 is nacked; rows 2 and 3 wait behind it.
fn held() -> Bench {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "k", "a")]);
    bench.batch();
    bench.settle(1, Outcome::Nacked);
    bench.admit([row(2, "k", "a"), row(3, "k", "b")]);
    assert_eq!(bench.parked(), [1, 2, 3]);
    bench
}

#[test]
fn the_oldest_message_is_one_that_was_never_parked() {
    let mut bench = held();
    bench.commit();
    bench.retry_key();
    bench.page(0, vec![row(1, "k", "a"), row(2, "k", "a")], false);
    let oldest = |bench: &Bench| bench.machine.min_by(|position| *position);
    assert_eq!(oldest(&bench), None);
    bench.admit([row(4, "l", "a"), row(5, "l", "a"), row(6, "", "a")]);
    assert_eq!(oldest(&bench), Some(4));
    assert_eq!(bench.batch(), [1, 4, 6]);
    assert_eq!(oldest(&bench), Some(4));
    bench.settle(4, Outcome::Confirmed);
    assert_eq!(oldest(&bench), Some(5));
    bench.settle(6, Outcome::Confirmed);
    bench.deliver_all();
    assert_eq!(oldest(&bench), None);
}

#[test]
fn g4_rows_parked_behind_follow_the_first_in_order() {
    let mut bench = held();
    bench.retry_key();
    bench.page(0, vec![row(1, "k", "a"), row(2, "k", "a")], true);
    assert_eq!(bench.batch(), [1]);
    // Row 4 is parked behind the others, and the scan reads it later.
    bench.admit([row(4, "k", "a")]);
    bench.settle(1, Outcome::Confirmed);
    assert_eq!(bench.deliver_all(), [2]);
    assert_eq!(
        bench.machine.next_key_request(),
        None,
        "row 4 is not written yet"
    );
    bench.commit();
    bench.page(2, vec![row(3, "k", "b"), row(4, "k", "a")], false);
    assert_eq!(bench.deliver_all(), [3, 4]);
    bench.commit();
    bench.page(0, Vec::new(), false);
    assert_eq!(bench.machine.held_keys(), 0);
    bench.admit([row(5, "k", "a")]);
    assert_eq!(bench.batch(), [5]);
}

#[test]
fn g4_a_first_row_that_fails_again_holds_the_others_until_it_is_due() {
    let mut bench = held();
    bench.retry_key();
    let rows = vec![row(1, "k", "a"), row(2, "k", "a"), row(3, "k", "b")];
    bench.page(0, rows, false);
    assert_eq!(bench.batch(), [1]);
    bench.settle(1, Outcome::Nacked);
    assert!(bench.batch().is_empty());
    let write = bench.commit();
    assert_eq!(write.reschedules.len(), 1);
    assert_eq!(write.reschedules[0].attempts, 2);
    assert_eq!(bench.machine.next_key_request(), None);
    assert_eq!(bench.machine.held_keys(), 1);
}

#[test]
fn g4_a_late_commit_below_the_rows_already_scanned_is_found() {
    let mut bench = Bench::new(settings());
    bench.machine.hold(&"k".into(), &"a".into(), Hold::Key);
    bench.retry_key();
    bench.page(0, vec![row(10, "k", "a")], false);
    assert_eq!(bench.batch(), [10]);
    bench.admit([row(5, "k", "a")]);
    bench.settle(10, Outcome::Confirmed);
    bench.commit();
    bench.page(0, vec![row(5, "k", "a")], false);
    assert_eq!(bench.deliver_all(), [5]);
    assert_eq!(bench.machine.held_keys(), 0);
}

#[test]
fn g4_a_hot_key_overflows_and_its_rows_follow_in_order() {
    let key_rows = 1;
    let mut bench = Bench::new(Settings {
        key_rows,
        ..settings()
    });
    bench.admit((1..=4).map(|position| row(position, "k", "t")));
    assert_eq!(
        bench.machine.rows(),
        2,
        "the key fills no more of the window"
    );
    // Parked before rows 1 and 2 are sent, rows 3 and 4 would overtake them after a crash.
    assert_eq!(bench.parked(), [0; 0]);
    assert_eq!(bench.deliver_all(), [1, 2]);
    assert_eq!(bench.watermark(), Some(4));
    assert_eq!(bench.parked(), [3, 4]);
    bench.page(0, vec![row(3, "k", "t"), row(4, "k", "t")], false);
    assert_eq!(bench.deliver_all(), [3, 4]);
    assert_eq!(bench.machine.held_keys(), 0);
}

#[test]
fn a_new_failure_is_not_retried_by_the_scan_in_progress() {
    let mut bench = Bench::new(settings());
    bench.machine.hold(&"k".into(), &"a".into(), Hold::Topic);
    bench.admit([row(5, "k", "b")]);
    assert_eq!(bench.batch(), [5]);
    bench.retry_key();
    bench.page(0, vec![row(1, "k", "a")], false);
    bench.settle(5, Outcome::Nacked);
    assert!(bench.batch().is_empty());
    assert_eq!(bench.parked(), [5]);
    assert_eq!(
        bench.machine.next_key_request(),
        None,
        "its backoff decides"
    );
    assert_eq!(bench.machine.held_keys(), 1);
}

#[test]
fn g4_no_page_is_read_above_rows_that_are_still_to_be_parked() {
    let mut bench = Bench::new(settings());
    bench.machine.hold(&"k".into(), &"a".into(), Hold::Topic);
    bench.admit([row(4, "k", "b"), row(5, "k", "a"), row(6, "k", "c")]);
    assert_eq!(bench.batch(), [4]);
    bench.retry_key();
    assert_eq!(
        bench.machine.next_key_request(),
        None,
        "row 5 would be skipped"
    );
    assert!(
        bench.parked().is_empty(),
        "row 4 is still to go before row 5"
    );
    bench.settle(4, Outcome::Unroutable);
    assert_eq!(bench.batch(), [6]);
    assert_eq!(bench.parked(), [4, 5], "row 6 follows them");
    bench.page_without(&["b"], 0, vec![row(5, "k", "a")], false);
    assert!(bench.batch().is_empty());
    bench.settle(6, Outcome::Confirmed);
    assert_eq!(bench.deliver_all(), [5]);
}

#[test]
fn a_rejected_row_that_an_operator_discards_no_longer_holds_its_key() {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "k", "t")]);
    bench.batch();
    bench.settle(1, Outcome::Rejected("too large".to_owned()));
    bench.commit();
    bench.admit([row(2, "k", "t")]);
    bench.commit();
    // The discarded row is due, and has expired.
    bench.retry_key();
    bench.page(0, vec![expired(row(1, "k", "t")), row(2, "k", "t")], false);
    assert_eq!(bench.deliver_all(), [2]);
    assert_eq!(bench.commit().forgets, [2]);
    // Read again after a crash, the frame would bring the discarded row back.
    assert!(!bench.machine.has_records() && !bench.machine.is_idle());
    bench.machine.close_frame(FRAME);
    bench.machine.progress();
    assert!(bench.machine.has_records());
    assert_eq!(bench.commit().forgets, [1]);
    assert!(bench.machine.is_idle());
    assert_eq!(bench.machine.held_keys(), 0);
}

#[test]
fn a_failed_row_that_expires_during_the_scan_does_not_hold_its_key_for_ever() {
    let mut bench = held();
    bench.retry_key();
    bench.page(0, vec![row(1, "k", "a")], true);
    bench.batch();
    bench.admit([row(4, "k", "b")]);
    bench.settle(1, Outcome::Unroutable);
    bench.commit();
    bench.page_without(&["a"], 1, vec![row(4, "k", "b")], false);
    bench.deliver_all();
    bench.commit();
    bench.page_without(&["a"], 0, vec![expired(row(1, "k", "a"))], false);
    bench.commit();
    bench.page(0, vec![row(2, "k", "a")], false);
    assert_eq!(bench.deliver_all(), [2]);
    assert_eq!(bench.machine.held_keys(), 0);
}

#[test]
fn the_writes_of_a_locked_row_stay_pending() {
    let mut bench = held();
    bench.retry_key();
    bench.page(0, vec![row(1, "k", "a"), row(2, "k", "a")], true);
    assert_eq!(bench.batch(), [1]);
    bench.settle(1, Outcome::Confirmed);
    assert_eq!(bench.batch(), [2]);
    bench.settle(2, Outcome::Nacked);
    let write = bench.machine.take_writes();
    assert_eq!(write.forgets, [1]);
    bench.machine.written(&write, &[1, 2]);
    let again = bench.machine.take_writes();
    assert_eq!(again.forgets, [1]);
    assert_eq!(again.reschedules, write.reschedules);
    bench.machine.written(&again, &[2]);
    assert_eq!(
        bench
            .machine
            .parked_in_progress()
            .iter()
            .collect::<Vec<_>>(),
        [&2]
    );
    let last = bench.machine.take_writes();
    assert_eq!((last.forgets.len(), last.reschedules.len()), (0, 1));
    bench.machine.written(&last, &[]);
    assert!(bench.machine.parked_in_progress().is_empty() && bench.machine.is_idle());
}

/// The locked row still shows the old due time; read again, the key would go on without it.
#[test]
fn g4_a_key_whose_failed_row_is_locked_is_not_read() {
    let mut bench = held();
    bench.retry_key();
    bench.page(0, vec![row(1, "k", "a"), row(2, "k", "a")], false);
    assert_eq!(bench.batch(), [1]);
    bench.settle(1, Outcome::Nacked);
    let write = bench.machine.take_writes();
    bench.machine.written(&write, &[1]);
    bench.retry_key();
    assert_eq!(bench.machine.next_key_request(), None);
    let again = bench.machine.take_writes();
    bench.machine.written(&again, &[]);
    bench.page(0, vec![row(1, "k", "a"), row(2, "k", "a")], false);
    assert_eq!(bench.batch(), [1]);
}
