//! Tests of the scheduler without tasks.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{Keyed, keys_of};

type Group = Vec<(Option<String>, usize)>;

fn end(pool: &mut Keyed<usize>, group: &Group) {
    pool.ended(keys_of(group));
}

#[test]
fn a_job_waits_only_for_earlier_jobs_of_its_key() {
    let mut pool = Keyed::new(3, 1);
    pool.arrived(Some("a".into()), 1, false);
    pool.arrived(Some("a".into()), 2, false);
    pool.arrived(Some("b".into()), 3, false);
    pool.arrived(None, 4, false);
    pool.arrived(None, 5, false);
    let first = pool.start();
    assert_eq!(first, [(Some("a".into()), 1)]);
    assert_eq!(pool.start(), [(Some("b".into()), 3)]);
    let third = pool.start();
    assert_eq!(third, [(None, 4)]);
    assert_eq!(pool.start(), []);
    end(&mut pool, &first);
    assert_eq!(pool.start(), [(None, 5)]);
    end(&mut pool, &third);
    assert_eq!(pool.start(), [(Some("a".into()), 2)]);
    assert!(!pool.can_start());
}

#[test]
fn jobs_share_a_group_when_more_jobs_wait_than_groups_are_free() {
    let mut pool = Keyed::new(2, 3);
    pool.arrived(None, 1, false);
    assert_eq!(pool.start().len(), 1, "a group is free for each job");
    for job in 2..=6 {
        pool.arrived(Some("a".into()), job, false);
    }
    let jobs: Vec<usize> = pool.start().into_iter().map(|(_, job)| job).collect();
    assert_eq!(jobs, [2, 3, 4]);
    assert_eq!(pool.start(), [], "both groups run");
}

#[test]
fn a_job_that_is_to_start_alone_shares_no_group() {
    let mut pool = Keyed::new(1, 10);
    pool.arrived(Some("a".into()), 1, false);
    pool.arrived(Some("a".into()), 2, true);
    pool.arrived(Some("a".into()), 3, false);
    pool.arrived(None, 4, false);
    for expected in [vec![1, 4], vec![2], vec![3]] {
        let group = pool.start();
        let jobs: Vec<usize> = group.iter().map(|(_, job)| *job).collect();
        assert_eq!(jobs, expected);
        end(&mut pool, &group);
    }
}

#[test]
fn jobs_that_start_again_go_before_the_waiting_jobs_of_their_keys() {
    let mut pool = Keyed::new(2, 3);
    for (key, job) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
        pool.arrived(Some(key.into()), job, false);
    }
    pool.running = 1;
    let group = pool.start();
    assert_eq!(group.len(), 3);
    pool.start_again_alone(group);
    pool.ended([]);
    assert_eq!(pool.start(), [(Some("a".into()), 1)]);
    pool.ended(["a".into()]);
    assert_eq!(pool.start(), [(Some("b".into()), 3)]);
    pool.ended(["b".into()]);
    assert_eq!(pool.start(), [(Some("a".into()), 2)]);
    pool.ended(["a".into()]);
    assert_eq!(pool.start(), [(Some("a".into()), 4)]);
}

#[derive(Debug, Clone)]
enum Step {
    Arrive(Option<u8>),
    /// Ends one of the running groups, counted from the oldest.
    End(usize),
    /// Ends one of the running groups, whose jobs start again.
    StartAgain(usize),
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::option::weighted(0.8, 0_u8..4).prop_map(Step::Arrive),
        4 => (0_usize..8).prop_map(Step::End),
        1 => (0_usize..8).prop_map(Step::StartAgain),
        1 => Just(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn a_key_runs_in_order_in_one_group_at_a_time_and_every_startable_job_starts(
        limit in 1_usize..5,
        messages_per_transaction in 1_usize..5,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut pool = Keyed::new(limit, messages_per_transaction);
        let mut running: Vec<Group> = Vec::new();
        let mut waiting: Group = Vec::new();
        let mut last_started: HashMap<String, usize> = HashMap::new();
        let mut alone = HashSet::new();
        for (number, step) in (1..).zip(steps) {
            match step {
                Step::Arrive(key) => {
                    let key = key.map(|key| key.to_string());
                    pool.arrived(key.clone(), number, false);
                    waiting.push((key, number));
                }
                Step::End(which) if !running.is_empty() => {
                    let group = running.remove(which % running.len());
                    end(&mut pool, &group);
                }
                Step::StartAgain(which) if !running.is_empty() => {
                    let group = running.remove(which % running.len());
                    for (key, job) in group.iter().rev() {
                        alone.insert(*job);
                        if let Some(key) = key {
                            last_started.insert(key.clone(), *job - 1);
                        }
                        waiting.push((key.clone(), *job));
                    }
                    pool.start_again_alone(group);
                    pool.ended([]);
                }
                Step::End(_) | Step::StartAgain(_) => {}
                Step::Forget => {
                    pool.forget_waiting();
                    waiting.clear();
                }
            }
            loop {
                let group = pool.start();
                if group.is_empty() {
                    break;
                }
                prop_assert!(group.len() <= messages_per_transaction);
                let with_others = group.iter().any(|(_, job)| alone.contains(job));
                prop_assert!(group.len() == 1 || !with_others);
                for (key, job) in &group {
                    let others = running.iter().flatten();
                    prop_assert!(key.is_none() || others.clone().all(|(other, _)| other != key));
                    let index = waiting.iter().position(|(_, waits)| waits == job);
                    prop_assert!(index.is_some());
                    waiting.remove(index.unwrap());
                    if let Some(key) = key {
                        let previous = last_started.insert(key.clone(), *job);
                        prop_assert!(previous < Some(*job));
                    }
                }
                running.push(group);
                prop_assert!(running.len() <= limit);
            }
            prop_assert!(!pool.can_start());
            prop_assert_eq!(pool.waiting(), waiting.len());
            let startable = waiting.iter().any(|(key, _)| {
                key.is_none() || running.iter().flatten().all(|(other, _)| other != key)
            });
            prop_assert!(running.len() == limit || !startable);
        }
    }
}
