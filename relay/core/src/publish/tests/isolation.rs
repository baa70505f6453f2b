//! Isolated topics, and suspect messages among them.

use super::bench::{Bench, blame, row, settings};
use crate::publish::{Hold, Outcome, ParkedRow, Reason, Settled};

/// Isolates two topics: messages 1 and 2 shared a batch that was not confirmed.
fn with_isolated_topics() -> Bench {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "", "silent"), row(2, "", "healthy")]);
    assert_eq!(bench.batch(), [1, 2]);
    for position in [1, 2] {
        assert_eq!(bench.settle(position, Outcome::Overdue), Settled::Requeued);
    }
    bench
}

#[test]
fn each_isolated_topic_has_one_separate_batch() {
    let mut bench = with_isolated_topics();
    bench.admit([
        row(3, "", "third"),
        row(4, "", "silent"),
        row(5, "", "healthy"),
    ]);
    assert_eq!(bench.batch(), [1, 4]);
    assert_eq!(bench.batch(), [2, 5]);
    assert_eq!(bench.batch(), [3]);
    bench.settle(2, Outcome::Confirmed);
    bench.settle(5, Outcome::Confirmed);
    bench.admit([
        row(6, "", "silent"),
        row(7, "", "healthy"),
        row(8, "", "third"),
    ]);
    assert_eq!(bench.batch(), [7, 8], "no longer isolated");
    assert_eq!(bench.batch(), [0; 0], "one batch at a time");
    bench.settle(1, Outcome::Overdue);
    bench.settle(4, Outcome::Overdue);
    assert_eq!(bench.batch(), [1, 4, 6]);
}

#[test]
fn a_topic_that_failed_less_often_comes_first() {
    let mut bench = with_isolated_topics();
    assert_eq!(bench.batch(), [1]);
    bench.settle(1, Outcome::Overdue);
    assert_eq!(bench.batch(), [2]);
    assert_eq!(bench.batch(), [1]);
}

#[test]
fn any_answer_ends_the_isolation_and_a_lost_connection_does_not() {
    let unknown = Outcome::Unknown { blame: None };
    for (outcome, ends) in [
        (Outcome::Confirmed, true),
        (Outcome::Nacked, true),
        (Outcome::Unroutable, true),
        (Outcome::Overdue, false),
        (unknown, false),
    ] {
        let mut bench = with_isolated_topics();
        assert_eq!([bench.batch(), bench.batch()], [[1], [2]]);
        bench.settle(1, outcome.clone());
        bench.settle(2, Outcome::Confirmed);
        bench.admit([row(3, "", "silent"), row(4, "", "healthy")]);
        let expected: &[_] = if ends { &[3, 4] } else { &[1, 3] };
        assert_eq!(bench.batch(), expected, "{outcome:?}");
    }
}

#[test]
fn a_suspect_message_goes_alone_while_topics_are_isolated_too() {
    let mut bench = with_isolated_topics();
    assert_eq!(bench.batch(), [1]);
    assert_eq!(bench.settle(1, blame()), Settled::Requeued);
    assert_eq!(bench.batch(), [1]);
    assert_eq!(bench.batch(), [0; 0]);
    bench.settle(1, Outcome::Confirmed);
    assert_eq!(bench.batch(), [2]);
}

#[test]
fn isolated_topics_leave_channels_for_others() {
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

/// Puts two messages of a topic in flight, in an isolated batch.
fn with_isolated_batch() -> Bench {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "", "silent"), row(2, "k", "silent")]);
    assert_eq!(bench.batch(), [1, 2]);
    bench.settle(1, Outcome::Overdue);
    bench.settle(2, Outcome::Overdue);
    assert_eq!(bench.batch(), [1, 2]);
    bench
}

#[test]
fn g3_g4_messages_of_an_unresponsive_topic_are_parked() {
    let mut bench = with_isolated_batch();
    bench.admit([
        row(3, "", "silent"),
        row(4, "k", "healthy"),
        row(5, "", "healthy"),
    ]);
    assert_eq!(bench.batch(), [5]);
    bench.settle(5, Outcome::Confirmed);
    assert_eq!(bench.machine.park_unresponsive(), 0, "it is not overdue");
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
fn while_nothing_is_answered_no_topic_is_unresponsive() {
    let mut bench = with_isolated_batch();
    bench.admit([row(3, "", "healthy")]);
    assert_eq!(bench.batch(), [3]);
    for position in [1, 2, 3] {
        assert_eq!(bench.settle(position, Outcome::Overdue), Settled::Requeued);
    }
    assert_eq!(bench.machine.park_unresponsive(), 0);
    assert_eq!(bench.batch(), [3]);
    assert_eq!(bench.batch(), [1, 2]);
}

#[test]
fn an_unresponsive_topic_is_tried_with_a_message_parked_before() {
    let mut bench = with_isolated_batch();
    bench.admit([row(3, "", "healthy")]);
    assert_eq!(bench.batch(), [3]);
    for (position, outcome) in [
        (3, Outcome::Confirmed),
        (1, Outcome::Overdue),
        (2, Outcome::Overdue),
    ] {
        bench.settle(position, outcome);
    }
    bench.admit([row(4, "", "silent")]);
    for position in [7, 8] {
        let row = row(position, "", "silent");
        bench.machine.retry(ParkedRow { row, attempts: 1 });
    }
    assert_eq!(bench.machine.park_unresponsive(), 4);
    let rescheduled = bench.commit().reschedules;
    let rescheduled = rescheduled.iter().map(|row| (row.position, row.attempts));
    assert_eq!(rescheduled.collect::<Vec<_>>(), [(8, 2)]);
    assert_eq!(bench.batch(), [7]);
    bench.settle(7, Outcome::Confirmed);
    bench.admit([row(9, "", "silent")]);
    assert_eq!(bench.machine.park_unresponsive(), 0, "it answered");
    assert_eq!(bench.batch(), [9]);
}

#[test]
fn an_overdue_batch_from_before_the_isolation_does_not_count_for_the_isolated_batch() {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "", "slow")]);
    assert_eq!(bench.batch(), [1]);
    bench.admit([row(2, "", "slow")]);
    assert_eq!(bench.batch(), [2]);
    bench.settle(1, Outcome::Overdue);
    assert_eq!(bench.batch(), [1], "isolated");
    bench.admit([row(3, "", "healthy"), row(4, "", "slow")]);
    assert_eq!(bench.batch(), [3]);
    bench.settle(3, Outcome::Confirmed);
    bench.settle(2, Outcome::Overdue);
    assert_eq!(bench.batch(), [0; 0], "its batch is in flight");
    assert_eq!(bench.machine.park_unresponsive(), 0);
    bench.settle(1, Outcome::Confirmed);
    assert_eq!(bench.batch(), [2, 4]);
}

#[test]
fn unroutable_messages_and_confirms_before_a_lost_connection_make_no_topic_unresponsive() {
    for (outcome, lost, parked) in [
        (Outcome::Unroutable, false, 0),
        (Outcome::Nacked, false, 0),
        (Outcome::Confirmed, false, 2),
        (Outcome::Confirmed, true, 0),
    ] {
        let mut bench = with_isolated_batch();
        bench.admit([row(3, "", "healthy"), row(4, "", "another")]);
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
fn suspect_messages_of_an_overdue_topic_do_not_wait_one_by_one() {
    let mut bench = Bench::new(settings());
    bench.admit((1..=3).map(|position| row(position, "", "silent")));
    for position in bench.batch() {
        bench.settle(position, blame());
    }
    assert_eq!(bench.batch(), [1]);
    bench.settle(1, Outcome::Overdue);
    assert_eq!(bench.batch(), [1, 2, 3]);
}

#[test]
fn a_suspect_message_behind_an_overdue_topic_is_sent() {
    let mut bench = Bench::new(settings());
    let topics = [(1, "silent"), (2, "bad"), (3, "healthy")];
    bench.admit(topics.map(|(position, topic)| row(position, "", topic)));
    assert_eq!(bench.batch(), [1, 2, 3]);
    for position in [1, 2, 3] {
        bench.settle(position, blame());
    }
    assert_eq!(bench.batch(), [1]);
    // Message 1 is no longer suspect, and is ready again at once. No confirm makes its topic
    // unresponsive.
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
fn a_message_that_was_never_sent_stays_suspect() {
    let mut bench = Bench::new(settings());
    bench.admit([row(1, "", "bad"), row(2, "", "healthy")]);
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
