//! Drops: each is recorded with the progress that passes its row.

use super::bench::{Bench, FRAME, expired, row, settings, unkeyed};
use crate::{
    capture::Position,
    publish::{DropReason, Outcome, Settings, TopicPatterns},
};

/// Commits the pending writes, and returns the drops of rows of frames.
fn recorded(bench: &mut Bench) -> Vec<(Position, DropReason)> {
    let drops = bench.commit().drops.into_iter();
    drops.map(|row| (row.position, row.reason)).collect()
}

#[test]
fn a_drop_waits_until_the_watermark_has_passed_its_row() {
    let mut bench = Bench::new(Settings {
        drop_unroutable: TopicPatterns::new(vec!["u".to_owned()]),
        ..settings()
    });
    bench.admit([
        expired(unkeyed(1)),
        unkeyed(2),
        row(3, "", "u"),
        expired(unkeyed(4)),
    ]);
    assert_eq!(bench.batch(), [2, 3]);
    bench.settle(3, Outcome::Unroutable);
    assert_eq!(recorded(&mut bench), [(1, DropReason::Expired)]);
    assert!(!bench.machine.has_records() && !bench.machine.is_idle());
    bench.settle(2, Outcome::Confirmed);
    assert!(bench.machine.has_records());
    let both = [(3, DropReason::Unroutable), (4, DropReason::Expired)];
    assert_eq!(recorded(&mut bench), both);
    assert!(bench.machine.is_idle());
}

#[test]
fn the_drop_of_a_parked_row_waits_until_no_frame_can_bring_the_row_again() {
    let mut bench = Bench::new(Settings {
        drop_unroutable: TopicPatterns::new(vec!["u".to_owned()]),
        ..settings()
    });
    bench.retry_key();
    bench.page(0, vec![row(1, "k", "u"), row(2, "k", "t")], false);
    assert_eq!(bench.batch(), [1]);
    bench.settle(1, Outcome::Unroutable);
    // The rows behind it go on meanwhile.
    assert_eq!(bench.deliver_all(), [2]);
    let write = bench.commit();
    assert_eq!((write.forgets, write.parked_drops.len()), (vec![2], 0));
    bench.machine.close_frame(FRAME);
    bench.machine.progress();
    let write = bench.commit();
    assert_eq!(write.forgets, [1]);
    assert_eq!(write.parked_drops[0].reason, DropReason::Unroutable);
    assert!(bench.machine.is_idle());
}

#[test]
fn the_drop_of_a_locked_row_is_recorded_again_with_its_deletion() {
    let mut bench = Bench::new(settings());
    bench.machine.close_frame(FRAME);
    bench.machine.progress();
    bench.retry_key();
    bench.page(0, vec![expired(row(1, "k", "t"))], false);
    let write = bench.machine.take_writes();
    assert_eq!((&*write.forgets, write.parked_drops.len()), (&[1][..], 1));
    bench.machine.written(&write, &[1]);
    let again = bench.commit();
    assert_eq!((&*again.forgets, again.parked_drops.len()), (&[1][..], 1));
    assert!(bench.commit().is_empty());
}

#[test]
fn drops_that_wait_to_be_recorded_stop_the_reader() {
    let mut bench = Bench::new(settings());
    let span = settings().span as Position;
    bench.admit((1..=span).map(|position| expired(unkeyed(position))));
    assert!(!bench.machine.has_room());
    assert_eq!(recorded(&mut bench).len(), span as usize);
    assert!(bench.machine.has_room());
}
