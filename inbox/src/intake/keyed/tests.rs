//! Tests of the scheduler by itself: no tasks run.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{Keyed, keys_of};

type Group = Vec<(Option<String>, usize)>;

fn arrived(scheduler: &mut Keyed<usize>, key: Option<&str>, job: usize) {
    scheduler.arrived(key.map(str::to_owned), job, false);
}

fn arrived_alone(scheduler: &mut Keyed<usize>, key: Option<&str>, job: usize) {
    scheduler.arrived(key.map(str::to_owned), job, true);
}

fn end(scheduler: &mut Keyed<usize>, group: &Group) {
    scheduler.ended(keys_of(group));
}

#[test]
fn a_job_waits_only_for_earlier_jobs_of_its_key() {
    let mut scheduler = Keyed::new(3, 1);
    arrived(&mut scheduler, Some("a"), 1);
    arrived(&mut scheduler, Some("a"), 2);
    arrived(&mut scheduler, Some("b"), 3);
    arrived(&mut scheduler, None, 4);
    arrived(&mut scheduler, None, 5);
    let first = scheduler.start();
    assert_eq!(first, [(Some("a".into()), 1)]);
    assert_eq!(scheduler.start(), [(Some("b".into()), 3)]);
    let third = scheduler.start();
    assert_eq!(third, [(None, 4)]);
    assert_eq!(scheduler.start(), []);
    end(&mut scheduler, &first);
    assert_eq!(scheduler.start(), [(None, 5)]);
    end(&mut scheduler, &third);
    assert_eq!(scheduler.start(), [(Some("a".into()), 2)]);
    assert!(!scheduler.can_start());
}

#[test]
fn jobs_share_a_group_when_more_jobs_wait_than_groups_are_free() {
    let mut scheduler = Keyed::new(2, 3);
    arrived(&mut scheduler, None, 1);
    assert_eq!(scheduler.start().len(), 1, "a group is free for each job");
    for job in 2..=6 {
        arrived(&mut scheduler, Some("a"), job);
    }
    let jobs: Vec<usize> = scheduler.start().into_iter().map(|(_, job)| job).collect();
    assert_eq!(jobs, [2, 3, 4]);
    assert_eq!(scheduler.start(), [], "both groups run");
}

#[test]
fn a_job_that_is_to_start_alone_shares_no_group() {
    let mut scheduler = Keyed::new(1, 10);
    arrived(&mut scheduler, Some("a"), 1);
    arrived_alone(&mut scheduler, Some("a"), 2);
    arrived(&mut scheduler, Some("a"), 3);
    arrived(&mut scheduler, None, 4);
    for expected in [vec![1, 4], vec![2], vec![3]] {
        let group = scheduler.start();
        let jobs: Vec<usize> = group.iter().map(|(_, job)| *job).collect();
        assert_eq!(jobs, expected);
        end(&mut scheduler, &group);
    }
}

#[test]
fn jobs_that_start_again_go_before_the_waiting_jobs_of_their_keys() {
    let mut scheduler = Keyed::new(2, 3);
    for (key, job) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
        arrived(&mut scheduler, Some(key), job);
    }
    // With one of the two groups taken, the first three jobs share the other.
    scheduler.running = 1;
    let group = scheduler.start();
    assert_eq!(group.len(), 3);
    scheduler.start_again_alone(group);
    // The group has ended, and no key has: all of its jobs start again.
    scheduler.ended([]);
    assert_eq!(scheduler.start(), [(Some("a".into()), 1)]);
    scheduler.ended(["a".into()]);
    assert_eq!(scheduler.start(), [(Some("b".into()), 3)]);
    scheduler.ended(["b".into()]);
    assert_eq!(scheduler.start(), [(Some("a".into()), 2)]);
    scheduler.ended(["a".into()]);
    assert_eq!(scheduler.start(), [(Some("a".into()), 4)]);
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
        let mut scheduler = Keyed::new(limit, messages_per_transaction);
        let mut running: Vec<Group> = Vec::new();
        let mut waiting: Group = Vec::new();
        let mut last_started: HashMap<String, usize> = HashMap::new();
        let mut alone = HashSet::new();
        for (number, step) in (1..).zip(steps) {
            match step {
                Step::Arrive(key) => {
                    let key = key.map(|key| key.to_string());
                    arrived(&mut scheduler, key.as_deref(), number);
                    waiting.push((key, number));
                }
                Step::End(which) if !running.is_empty() => {
                    let group = running.remove(which % running.len());
                    end(&mut scheduler, &group);
                }
                Step::StartAgain(which) if !running.is_empty() => {
                    let group = running.remove(which % running.len());
                    // The first job of a key comes last here, and sets the key's mark back to before itself, so
                    // that all jobs of the group may start again.
                    for (key, job) in group.iter().rev() {
                        alone.insert(*job);
                        if let Some(key) = key {
                            last_started.insert(key.clone(), *job - 1);
                        }
                        waiting.push((key.clone(), *job));
                    }
                    scheduler.start_again_alone(group);
                    scheduler.ended([]);
                }
                Step::End(_) | Step::StartAgain(_) => {}
                Step::Forget => {
                    scheduler.forget_waiting();
                    waiting.clear();
                }
            }
            loop {
                let group = scheduler.start();
                if group.is_empty() {
                    break;
                }
                prop_assert!(group.len() <= messages_per_transaction);
                let must_be_alone = group.iter().any(|(_, job)| alone.contains(job));
                prop_assert!(group.len() == 1 || !must_be_alone);
                for (key, job) in &group {
                    let others = running.iter().flatten();
                    prop_assert!(key.is_none() || others.clone().all(|(other, _)| other != key));
                    let index = waiting.iter().position(|(_, waiting_job)| waiting_job == job);
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
            prop_assert!(!scheduler.can_start());
            prop_assert_eq!(scheduler.waiting(), waiting.len());
            let startable = waiting.iter().any(|(key, _)| {
                key.is_none() || running.iter().flatten().all(|(other, _)| other != key)
            });
            prop_assert!(running.len() == limit || !startable);
        }
    }
}
