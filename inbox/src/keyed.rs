//! Which waiting job may start: one of each key at a time, in order of arrival.

use std::collections::{HashMap, VecDeque};

/// A bounded pool of jobs, without the tasks that run them.
///
/// Told what arrived and what ended, it says what to start. Jobs of one key start one after
/// another in the order of their arrival; different keys, and jobs without a key, run beside each
/// other up to the limit.
#[derive(Debug)]
pub(crate) struct Keyed<T> {
    limit: usize,
    running: usize,
    /// Jobs that may start as soon as there is room.
    ready: VecDeque<(Option<String>, T)>,
    /// Keys with a job that is ready or running, and the jobs that wait behind it.
    keys: HashMap<String, VecDeque<T>>,
}

impl<T> Keyed<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            running: 0,
            ready: VecDeque::new(),
            keys: HashMap::new(),
        }
    }

    /// Takes a job that arrived.
    pub(crate) fn arrived(&mut self, key: Option<String>, job: T) {
        let Some(key) = key else {
            self.ready.push_back((None, job));
            return;
        };
        if let Some(behind) = self.keys.get_mut(&key) {
            behind.push_back(job);
        } else {
            self.keys.insert(key.clone(), VecDeque::new());
            self.ready.push_back((Some(key), job));
        }
    }

    /// Returns the next job to start, with its key, if one may.
    pub(crate) fn start(&mut self) -> Option<(Option<String>, T)> {
        if self.running == self.limit {
            return None;
        }
        let next = self.ready.pop_front()?;
        self.running += 1;
        Some(next)
    }

    /// Takes note that a started job of the key ended.
    pub(crate) fn ended(&mut self, key: Option<String>) {
        debug_assert!(self.running > 0, "a job ended that was never started");
        self.running -= 1;
        let Some(key) = key else { return };
        match self.keys.get_mut(&key).map(VecDeque::pop_front) {
            Some(Some(next)) => self.ready.push_back((Some(key), next)),
            _ => {
                self.keys.remove(&key);
            }
        }
    }

    /// Drops the jobs that have not started. Those that run still hold their keys.
    pub(crate) fn forget_waiting(&mut self) {
        for (key, _) in self.ready.drain(..) {
            if let Some(key) = key {
                self.keys.remove(&key);
            }
        }
        for behind in self.keys.values_mut() {
            behind.clear();
        }
    }

    /// Returns the number of started jobs that have not ended.
    pub(crate) const fn running(&self) -> usize {
        self.running
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::Keyed;

    #[derive(Debug, Clone)]
    enum Step {
        Arrive(Option<u8>),
        /// Ends one of the running jobs, counted from the oldest.
        End(usize),
        Forget,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => proptest::option::weighted(0.8, 0_u8..4).prop_map(Step::Arrive),
            6 => (0_usize..8).prop_map(Step::End),
            1 => Just(Step::Forget),
        ]
    }

    #[test]
    fn a_key_waits_for_itself_alone() {
        let mut pool = Keyed::new(3);
        pool.arrived(Some("a".into()), 1);
        pool.arrived(Some("a".into()), 2);
        pool.arrived(Some("b".into()), 3);
        pool.arrived(None, 4);
        pool.arrived(None, 5);
        assert_eq!(pool.start(), Some((Some("a".into()), 1)));
        assert_eq!(pool.start(), Some((Some("b".into()), 3)));
        assert_eq!(pool.start(), Some((None, 4)));
        assert_eq!(pool.start(), None);
        pool.ended(Some("a".into()));
        assert_eq!(pool.start(), Some((None, 5)));
        pool.ended(None);
        assert_eq!(pool.start(), Some((Some("a".into()), 2)));
        assert_eq!(pool.running(), 3);
    }

    proptest! {
        #[test]
        fn one_job_of_a_key_at_a_time_in_order_and_nothing_is_held_back_without_reason(
            limit in 1_usize..5,
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut pool = Keyed::new(limit);
            let mut running: Vec<(Option<String>, usize)> = Vec::new();
            let mut waiting: Vec<(Option<String>, usize)> = Vec::new();
            let mut last_started: HashMap<String, usize> = HashMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Arrive(key) => {
                        let key = key.map(|key| key.to_string());
                        pool.arrived(key.clone(), number);
                        waiting.push((key, number));
                    }
                    Step::End(which) if !running.is_empty() => {
                        let (key, _) = running.remove(which % running.len());
                        pool.ended(key);
                    }
                    Step::End(_) => {}
                    Step::Forget => {
                        pool.forget_waiting();
                        waiting.clear();
                    }
                }
                while let Some((key, job)) = pool.start() {
                    prop_assert!(key.is_none() || running.iter().all(|(other, _)| *other != key));
                    let place = waiting.iter().position(|(_, waits)| *waits == job);
                    prop_assert!(place.is_some());
                    waiting.remove(place.unwrap());
                    if let Some(key) = &key {
                        let before = last_started.insert(key.clone(), job);
                        prop_assert!(before < Some(job));
                    }
                    running.push((key, job));
                    prop_assert!(running.len() <= limit);
                }
                prop_assert_eq!(pool.running(), running.len());
                let startable = waiting.iter().any(|(key, _)| {
                    key.is_none() || running.iter().all(|(other, _)| other != key)
                });
                prop_assert!(running.len() == limit || !startable);
            }
        }
    }
}
