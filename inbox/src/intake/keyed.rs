//! The scheduling of jobs by key: jobs of one key start in order, and in one group at a time.

use std::collections::{HashMap, HashSet, VecDeque};

/// The scheduler of a bounded pool of job groups. Pure: the caller reports arrivals and ends, and runs the
/// groups that [`Keyed::start`] returns.
///
/// Jobs of one key start in the order of their arrival, and never in two groups at once. Jobs of different
/// keys, and jobs without a key, run in parallel, up to a limit of groups. The size of a group grows with
/// the number of waiting jobs: while there are enough free groups for all, each job starts alone. A job may
/// also be marked to start alone.
#[derive(Debug)]
pub(crate) struct Keyed<T> {
    /// Largest number of groups at a time.
    limit: usize,
    /// Largest number of jobs in a group.
    messages_per_transaction: usize,
    /// Number of running groups.
    running: usize,
    /// Jobs that may start as soon as a group is free, at most one of each key.
    ready: VecDeque<(Option<String>, Waiting<T>)>,
    /// Keys with a ready or running job, each with the jobs that wait behind it.
    keys: HashMap<String, VecDeque<Waiting<T>>>,
    /// Number of jobs that have not started.
    waiting: usize,
}

/// A job that has not started.
#[derive(Debug)]
struct Waiting<T> {
    job: T,
    /// `true` if no other job may be in its group.
    alone: bool,
}

impl<T> Keyed<T> {
    pub(crate) fn new(limit: usize, messages_per_transaction: usize) -> Self {
        Self {
            limit,
            messages_per_transaction,
            running: 0,
            ready: VecDeque::new(),
            keys: HashMap::new(),
            waiting: 0,
        }
    }

    /// Adds a job that arrived; `alone` marks it to start alone.
    pub(crate) fn arrived(&mut self, key: Option<String>, job: T, alone: bool) {
        self.waiting += 1;
        let job = Waiting { job, alone };
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

    /// Returns the next group of jobs to start, in order and with their keys; empty if none may start.
    pub(crate) fn start(&mut self) -> Vec<(Option<String>, T)> {
        let mut group = Vec::new();
        if self.running == self.limit {
            return group;
        }
        let share = self.waiting.div_ceil(self.limit - self.running);
        let most = share.clamp(1, self.messages_per_transaction);
        while group.len() < most
            && self
                .ready
                .front()
                .is_some_and(|(_, next)| group.is_empty() || !next.alone)
            && let Some((key, Waiting { job, alone })) = self.ready.pop_front()
        {
            group.push((key.clone(), job));
            if alone {
                break;
            }
            let behind = key.as_ref().and_then(|key| self.keys.get_mut(key));
            let Some(behind) = behind else { continue };
            let room = most - group.len();
            let more = behind.iter().take(room).take_while(|next| !next.alone);
            let more = behind.drain(..more.count());
            group.extend(more.map(|next| (key.clone(), next.job)));
        }
        self.waiting -= group.len();
        self.running += usize::from(!group.is_empty());
        group
    }

    /// Takes back jobs of a running group, in their order. They start again, each alone, before the other jobs of
    /// their keys; so their keys have not ended.
    pub(crate) fn start_again_alone(&mut self, jobs: Vec<(Option<String>, T)>) {
        self.waiting += jobs.len();
        let mut first_of = HashSet::new();
        let (mut first, mut behind) = (Vec::new(), Vec::new());
        for (key, job) in jobs {
            let job = Waiting { job, alone: true };
            match key {
                Some(key) if !first_of.insert(key.clone()) => behind.push((key, job)),
                key => first.push((key, job)),
            }
        }
        for next in first.into_iter().rev() {
            self.ready.push_front(next);
        }
        for (key, job) in behind.into_iter().rev() {
            self.keys.entry(key).or_default().push_front(job);
        }
    }

    /// Returns `true` if fewer jobs are ready than would fill every group once.
    pub(crate) fn has_room(&self) -> bool {
        self.ready.len() < self.limit.saturating_mul(self.messages_per_transaction)
    }

    /// Returns `true` if [`Keyed::start`] would return jobs.
    pub(crate) fn can_start(&self) -> bool {
        self.running < self.limit && !self.ready.is_empty()
    }

    /// Records that a started group has ended; `keys` are those of its jobs that do not start again.
    pub(crate) fn ended(&mut self, keys: impl IntoIterator<Item = String>) {
        debug_assert!(self.running > 0, "a group ended that was never started");
        self.running -= 1;
        for key in keys {
            match self.keys.get_mut(&key).map(VecDeque::pop_front) {
                Some(Some(next)) => self.ready.push_back((Some(key), next)),
                _ => {
                    self.keys.remove(&key);
                }
            }
        }
    }

    /// Drops the jobs that have not started. Running jobs still hold their keys.
    pub(crate) fn forget_waiting(&mut self) {
        for (key, _) in self.ready.drain(..) {
            if let Some(key) = key {
                self.keys.remove(&key);
            }
        }
        for behind in self.keys.values_mut() {
            behind.clear();
        }
        self.waiting = 0;
    }

    /// Returns the number of jobs that have not started.
    #[cfg(test)]
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }
}

/// Returns the keys of a group, each once.
pub(crate) fn keys_of<T>(group: &[(Option<String>, T)]) -> HashSet<String> {
    group.iter().filter_map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests;
