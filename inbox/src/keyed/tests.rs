//! Tests of the scheduler without tasks.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{Keyed, keys_of};

type Group = Vec<(Option<String>, usize)>;

fn end(pool: &mut Keyed<usize>, group: &Group) {
    for key in keys_of(group) {
        pool.key_ended(key);
    }
    pool.group_ended();
}

#[test]
fn a_job_waits_only_for_earlier_jobs_of_its_key() {
    let mut pool = Keyed::new(3, 1);
    pool.arrived(Some("a".into()), 1);
    pool.arrived(Some("a".into()), 2);
    pool.arrived(Some("b".into()), 3);
    pool.arrived(None, 4);
    pool.arrived(None, 5);
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
    pool.arrived(None, 1);
    assert_eq!(pool.start().len(), 1, "a group is free for each job");
    for job in 2..=6 {
        pool.arrived(Some("a".into()), job);
    }
    let jobs: Vec<usize> = pool.start().into_iter().map(|(_, job)| job).collect();
    assert_eq!(jobs, [2, 3, 4]);
    assert_eq!(pool.start(), [], "both groups run");
}

#[test]
fn a_key_that_ended_before_its_group_starts_again_in_another_group() {
    let mut pool = Keyed::new(2, 2);
    for (key, job) in [("a", 1), ("b", 2), ("a", 3)] {
        pool.arrived(Some(key.into()), job);
    }
    assert_eq!(pool.start().len(), 2);
    assert_eq!(pool.start(), [(Some("b".into()), 2)]);
    pool.key_ended("a".into());
    pool.arrived(Some("a".into()), 4);
    assert_eq!(pool.start(), [], "no group is free");
    pool.group_ended();
    assert_eq!(pool.start(), [(Some("a".into()), 4)]);
}

#[derive(Debug, Clone)]
enum Step {
    Arrive(Option<u8>),
    /// Ends one of the running groups, counted from the oldest.
    End(usize),
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::option::weighted(0.8, 0_u8..4).prop_map(Step::Arrive),
        4 => (0_usize..8).prop_map(Step::End),
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
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Arrive(key) => {
                    let key = key.map(|key| key.to_string());
                    pool.arrived(key.clone(), number);
                    waiting.push((key, number));
                }
                Step::End(which) if !running.is_empty() => {
                    let group = running.remove(which % running.len());
                    end(&mut pool, &group);
                }
                Step::End(_) => {}
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
