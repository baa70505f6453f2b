//! Histories with one error of each kind, and correct ones.

use super::{Committed, Disorder, Effect, Seen, judge_effects, judge_queue};

fn committed() -> Vec<Committed> {
    let message = |id: &str, key: Option<&str>, place| Committed {
        id: id.to_owned(),
        key: key.map(str::to_owned),
        place,
    };
    vec![
        message("a1", Some("a"), 1),
        message("b1", Some("b"), 1),
        message("a2", Some("a"), 2),
        message("n", None, 0),
        message("a3", Some("a"), 3),
    ]
}

fn seen(ids: &[&str]) -> Vec<Seen> {
    let key = |id: &str| match &id[..1] {
        "n" | "x" => None,
        key => Some(key.to_owned()),
    };
    ids.iter()
        .map(|id| Seen {
            id: (*id).to_owned(),
            key: key(id),
        })
        .collect()
}

fn effects(ids: &[&str]) -> Vec<Effect> {
    ids.iter()
        .map(|id| Effect {
            id: (*id).to_owned(),
        })
        .collect()
}

#[test]
fn a_complete_history_with_repeats_is_clean() {
    let report = judge_queue(
        &committed(),
        &seen(&["n", "a1", "a2", "a1", "b1", "a3", "a2"]),
    );
    report.assert_clean();
    assert_eq!((report.seen, report.repeats), (5, 2));
}

#[test]
fn a_lost_message_is_found() {
    let report = judge_queue(&committed(), &seen(&["a1", "b1", "a3", "n"]));
    assert_eq!(report.lost, ["a2"]);
    assert!(!report.is_clean());
}

#[test]
fn a_ghost_is_found() {
    let report = judge_queue(&committed(), &seen(&["a1", "x", "b1", "a2", "n", "a3"]));
    assert_eq!(report.ghosts, ["x"]);
    assert!(!report.is_clean());
}

#[test]
fn a_disorder_of_first_occurrences_is_found() {
    let report = judge_queue(&committed(), &seen(&["a2", "a1", "a2", "b1", "a3", "n"]));
    let disorder = Disorder {
        key: "a".into(),
        first: "a2".into(),
        then: "a1".into(),
    };
    assert_eq!(report.disorders, [disorder]);
    assert!(!report.is_clean());
}

#[test]
fn a_changed_key_is_found() {
    let mut history = seen(&["a1", "b1", "a2", "n", "a3"]);
    history[1].key = Some("a".to_owned());
    let report = judge_queue(&committed(), &history);
    assert_eq!(report.wrong_keys, ["b1"]);
}

#[test]
fn an_excess_a_missing_and_a_ghost_effect_are_found() {
    let report = judge_effects(&committed(), &effects(&["a1", "a1", "b1", "a2", "x", "a3"]));
    assert_eq!(report.excess, ["a1"]);
    assert_eq!(report.lost, ["n"]);
    assert_eq!(report.ghosts, ["x"]);
    let report = judge_effects(&committed(), &effects(&["a1", "b1", "a2", "n", "a3"]));
    report.assert_clean();
}
