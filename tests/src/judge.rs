//! A run under load, judged.

use history::{Report, Seen, judge_queue};
use postroom_testkit::{Database, Tap, in_time};

use crate::load;

/// Waits until everything that the ledger holds has come through, and judges what the tap saw; what
/// has not come after a minute is lost, by name.
///
/// Waits for the count of *distinct known* ids: a ghost must not stand in for a lost message.
pub async fn judged(database: &Database, tap: &Tap) -> Report {
    let committed = load::committed(database).await;
    assert!(!committed.is_empty(), "the load committed nothing");
    let missing = || {
        let seen = tap.ids();
        committed
            .iter()
            .filter(|message| !seen.contains(&message.id))
            .count()
    };
    in_time(async || missing() == 0).await;
    let report = judge_queue(&committed, &history_of(tap));
    // For the record of a run; shown with --no-capture.
    #[allow(clippy::print_stdout)]
    {
        println!("{report}");
    }
    report
}

/// Returns what a tap saw so far, for judging.
pub fn history_of(tap: &Tap) -> Vec<Seen> {
    let seen = tap.seen().into_iter();
    seen.map(|seen| Seen {
        id: seen.id,
        key: seen.key,
    })
    .collect()
}
