//! Topics whose messages are left without confirms.

use super::bench::{Bench, blame, row, settings};
use crate::publish::{Hold, Outcome, ParkedRow, Reason, Settled};

/// Messages 1 and 2 of two topics shared a batch that was not confirmed.
fn with_topics_in_doubt() -> Bench {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "", "stuck"), row(2, "", "well")]);
    assert_eq!(bench.batch(), [1, 2]);
    for position in [1, 2] {
        assert_eq!(bench.settle(position, Outcome::Overdue), Settled::Requeued);
    }
    bench
}

#[test]
fn topics_in_doubt_have_one_batch_each_of_their_own() {
    let mut bench = with_topics_in_doubt();
    bench.admit([row(3, "", "third"), row(4, "", "stuck"), row(5, "", "well")]);
    assert_eq!(bench.batch(), [1, 4]);
    assert_eq!(bench.batch(), [2, 5]);
    assert_eq!(bench.batch(), [3]);
    bench.settle(2, Outcome::Confirmed);
    bench.settle(5, Outcome::Confirmed);
    bench.admit([row(6, "", "stuck"), row(7, "", "well"), row(8, "", "third")]);
    assert_eq!(bench.batch(), [7, 8], "no longer in doubt");
    assert_eq!(bench.batch(), [0; 0], "one batch at a time");
    bench.settle(1, Outcome::Overdue);
    bench.settle(4, Outcome::Overdue);
    assert_eq!(bench.batch(), [1, 4, 6]);
}

#[test]
fn a_topic_that_failed_less_often_comes_first() {
    let mut bench = with_topics_in_doubt();
    assert_eq!(bench.batch(), [1]);
    bench.settle(1, Outcome::Overdue);
    assert_eq!(bench.batch(), [2]);
    assert_eq!(bench.batch(), [1]);
}

#[test]
fn any_answer_ends_the_doubt_and_a_lost_connection_does_not() {
    let unknown = Outcome::Unknown { blame: None };
    for (outcome, ends) in [
        (Outcome::Confirmed, true),
        (Outcome::Nacked, true),
        (Outcome::Unroutable, true),
        (Outcome::Overdue, false),
        (unknown, false),
    ] {
        let mut bench = with_topics_in_doubt();
        assert_eq!([bench.batch(), bench.batch()], [[1], [2]]);
        bench.settle(1, outcome.clone());
        bench.settle(2, Outcome::Confirmed);
        bench.admit([row(3, "", "stuck"), row(4, "", "well")]);
        let expected: &[_] = if ends { &[3, 4] } else { &[1, 3] };
        assert_eq!(bench.batch(), expected, "{outcome:?}");
    }
}

#[test]
fn a_message_under_suspicion_goes_alone_in_times_of_doubt_too() {
    let mut bench = with_topics_in_doubt();
    assert_eq!(bench.batch(), [1]);
    assert_eq!(bench.settle(1, blame()), Settled::Requeued);
    assert_eq!(bench.batch(), [1]);
    assert_eq!(bench.batch(), [0; 0]);
    bench.settle(1, Outcome::Confirmed);
    assert_eq!(bench.batch(), [2]);
}

#[test]
fn topics_in_doubt_leave_channels_for_others() {
    let mut bench = Bench::new(settings());
    let topics = ["a", "b", "c", "d"];
    bench.admit(
        (1..)
            .zip(topics)
            .map(|(position, topic)| row(position, "", topic)),
    );
    for position in bench.batch() {
        bench.settle(position, Outcome::Overdue);
    }
    assert_eq!(settings().isolated_batches, 3);
    assert_eq!(
        [bench.batch(), bench.batch(), bench.batch()],
        [[1], [2], [3]]
    );
    bench.admit([row(5, "", "another")]);
    assert_eq!(bench.batch(), [5]);
    assert_eq!(bench.batch(), [0; 0]);
    bench.settle(2, Outcome::Confirmed);
    assert_eq!(bench.batch(), [4]);
}

/// Two messages of a topic are in flight in a batch of its own.
fn with_a_batch_apart() -> Bench {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "", "stuck"), row(2, "k", "stuck")]);
    assert_eq!(bench.batch(), [1, 2]);
    bench.settle(1, Outcome::Overdue);
    bench.settle(2, Outcome::Overdue);
    assert_eq!(bench.batch(), [1, 2]);
    bench
}

#[test]
fn g3_g4_what_waits_for_a_stuck_queue_is_parked() {
    let mut bench = with_a_batch_apart();
    bench.admit([row(3, "", "stuck"), row(4, "k", "well"), row(5, "", "well")]);
    assert_eq!(bench.batch(), [5]);
    bench.settle(5, Outcome::Confirmed);
    assert_eq!(bench.machine.park_unresponsive(), 0, "its time is not over");
    for position in [1, 2] {
        assert_eq!(bench.settle(position, Outcome::Overdue), Settled::Requeued);
    }
    assert_eq!(bench.machine.park_unresponsive(), 3);
    assert_eq!(bench.machine.rows(), 0);
    let write = bench.commit();
    let parks = write.parks.iter();
    let parks = parks.map(|park| (park.position, park.reason, park.hold));
    let expected = [
        (1, Reason::Nacked, Hold::Nothing),
        (2, Reason::Nacked, Hold::Key),
        (4, Reason::Behind, Hold::Key),
        (3, Reason::Nacked, Hold::Nothing),
    ];
    assert_eq!(parks.collect::<Vec<_>>(), expected);
    assert_eq!(bench.watermark(), Some(5));
}

#[test]
fn while_nothing_is_answered_no_topic_is_stuck() {
    let mut bench = with_a_batch_apart();
    bench.admit([row(3, "", "well")]);
    assert_eq!(bench.batch(), [3]);
    for position in [1, 2, 3] {
        assert_eq!(bench.settle(position, Outcome::Overdue), Settled::Requeued);
    }
    assert_eq!(bench.machine.park_unresponsive(), 0);
    assert_eq!(bench.batch(), [3]);
    assert_eq!(bench.batch(), [1, 2]);
}

#[test]
fn a_stuck_topic_is_tried_with_what_was_parked_before() {
    let mut bench = with_a_batch_apart();
    bench.admit([row(3, "", "well")]);
    assert_eq!(bench.batch(), [3]);
    for (position, outcome) in [
        (3, Outcome::Confirmed),
        (1, Outcome::Overdue),
        (2, Outcome::Overdue),
    ] {
        bench.settle(position, outcome);
    }
    bench.admit([row(4, "", "stuck")]);
    for position in [7, 8] {
        let row = row(position, "", "stuck");
        bench.machine.retry(ParkedRow { row, attempts: 1 });
    }
    assert_eq!(bench.machine.park_unresponsive(), 4);
    let rescheduled = bench.commit().reschedules;
    let rescheduled = rescheduled.iter().map(|row| (row.position, row.attempts));
    assert_eq!(rescheduled.collect::<Vec<_>>(), [(8, 2)]);
    assert_eq!(bench.batch(), [7]);
    bench.settle(7, Outcome::Confirmed);
    bench.admit([row(9, "", "stuck")]);
    assert_eq!(bench.machine.park_unresponsive(), 0, "it answered");
    assert_eq!(bench.batch(), [9]);
}

#[test]
fn what_is_late_from_before_the_doubt_says_nothing_of_the_batch_apart() {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "", "slow")]);
    assert_eq!(bench.batch(), [1]);
    bench.admit([row(2, "", "slow")]);
    assert_eq!(bench.batch(), [2]);
    bench.settle(1, Outcome::Overdue);
    assert_eq!(bench.batch(), [1], "apart");
    bench.admit([row(3, "", "well"), row(4, "", "slow")]);
    assert_eq!(bench.batch(), [3]);
    bench.settle(3, Outcome::Confirmed);
    bench.settle(2, Outcome::Overdue);
    assert_eq!(bench.batch(), [0; 0], "its batch is under way");
    assert_eq!(bench.machine.park_unresponsive(), 0);
    bench.settle(1, Outcome::Confirmed);
    assert_eq!(bench.batch(), [2, 4]);
}

#[test]
fn what_no_queue_takes_is_no_proof_and_neither_is_what_a_lost_connection_knew() {
    for (outcome, lost, parked) in [
        (Outcome::Unroutable, false, 0),
        (Outcome::Nacked, false, 0),
        (Outcome::Confirmed, false, 2),
        (Outcome::Confirmed, true, 0),
    ] {
        let mut bench = with_a_batch_apart();
        bench.admit([row(3, "", "well"), row(4, "", "another")]);
        assert_eq!(bench.batch(), [3, 4]);
        bench.settle(3, outcome.clone());
        for position in [1, 2] {
            bench.settle(position, Outcome::Overdue);
        }
        if lost {
            bench.settle(4, Outcome::Unknown { blame: None });
        }
        assert_eq!(
            bench.machine.park_unresponsive(),
            parked,
            "{outcome:?} {lost}"
        );
    }
}

#[test]
fn suspects_of_a_silent_topic_do_not_wait_one_by_one() {
    let mut bench = Bench::new(settings());
    bench.admit((1..=3).map(|position| row(position, "", "stuck")));
    for position in bench.batch() {
        bench.settle(position, blame());
    }
    assert_eq!(bench.batch(), [1]);
    bench.settle(1, Outcome::Overdue);
    assert_eq!(bench.batch(), [1, 2, 3]);
}

#[test]
fn a_suspect_behind_a_topic_that_is_not_answered_has_its_turn() {
    let mut bench = Bench::new(settings());
    let topics = [(1, "stuck"), (2, "bad"), (3, "well")];
    bench.admit(topics.map(|(position, topic)| row(position, "", topic)));
    assert_eq!(bench.batch(), [1, 2, 3]);
    for position in [1, 2, 3] {
        bench.settle(position, blame());
    }
    assert_eq!(bench.batch(), [1]);
    // Cleared, and back at once; nothing is confirmed meanwhile that would tell it from the others.
    bench.settle(1, Outcome::Overdue);
    assert_eq!(bench.batch(), [2]);
    bench.settle(2, blame());
    assert_eq!(bench.batch(), [2]);
    bench.settle(2, blame());
    assert_eq!(bench.batch(), [3]);
    bench.settle(3, Outcome::Confirmed);
    assert_eq!(bench.parked(), [2]);
    assert_eq!(bench.batch(), [1]);
}

#[test]
fn what_was_never_sent_stays_under_suspicion() {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "", "bad"), row(2, "", "well")]);
    assert_eq!(bench.batch(), [1, 2]);
    bench.settle(1, blame());
    bench.settle(2, blame());
    for _ in 0..2 {
        assert_eq!(bench.batch(), [1]);
        assert_eq!(bench.machine.settle(1, Outcome::Unsent), None);
        assert_eq!(bench.batch(), [1], "alone, as before");
        bench.settle(1, blame());
    }
    assert_eq!(bench.parked(), [1]);
}
