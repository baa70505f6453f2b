//! Tasks that handle deliveries, shared by all connections of a consumer.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
};

use super::job::{self, Job};
use crate::{
    engine::Engine,
    events,
    keyed::{Keyed, keys_of},
};

/// Longest wait for aborted tasks: a task that blocks its thread never ends.
pub(crate) const ABORT: Duration = Duration::from_secs(1);

/// Tasks that handle deliveries.
///
/// They outlive a connection: a delivery whose connection was lost still finishes and commits. When the broker
/// delivers the message again, the copy waits for it, because the key is busy.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    /// Running tasks. Each one goes on with the next deliveries until none may start.
    tasks: JoinSet<()>,
}

/// State that all tasks share.
#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    pool: Mutex<Keyed<Job>>,
    /// Notified when deliveries may start that no running task takes, or when there is room for more.
    changed: Notify,
}

impl Workers {
    /// Makes up to `limit` workers, each of which takes up to `messages_per_transaction` deliveries at a time.
    pub(super) fn new(engine: Arc<Engine>, limit: usize, messages_per_transaction: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                pool: Mutex::new(Keyed::new(limit, messages_per_transaction)),
                changed: Notify::new(),
            }),
            tasks: JoinSet::new(),
        }
    }

    /// Returns `true` if more deliveries should be taken. Deliveries of busy keys do not count.
    pub(super) fn has_room(&self) -> bool {
        self.shared.pool().has_room()
    }

    /// Adds a delivery to those that wait; [`Workers::start`] starts it.
    pub(super) fn arrived(&mut self, job: Job) {
        let key = job.delivery.message().key.clone();
        self.shared.pool().arrived(key, job);
    }

    /// Starts a task for each group of deliveries that may run now.
    pub(super) fn start(&mut self) {
        while let Some(group) = Shared::next(&self.shared) {
            self.tasks.spawn(work(group));
        }
    }

    /// Waits until more deliveries may run, or until there is room again; then starts those that may run. Never
    /// returns while no task runs.
    ///
    /// # Errors
    /// Fails if a worker panicked outside of handlers and layers: its deliveries will never be settled.
    pub(super) async fn ended(&mut self) -> Result<(), JoinError> {
        let ended = tokio::select! {
            () = self.shared.changed.notified() => Ok(()),
            Some(ended) = self.tasks.join_next() => ended,
        };
        self.start();
        ended
    }

    /// Drops deliveries that have not started, because their channel is gone or the consumer stops.
    pub(super) fn forget_waiting(&mut self) {
        self.shared.pool().forget_waiting();
        self.shared.report_waiting(0, 0);
    }

    /// Waits for the running tasks; aborts tasks that take longer than `grace`.
    pub(super) async fn finish(&mut self, grace: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            let (consumer, handlers) = (self.shared.engine.consumer(), self.tasks.len() as u64);
            events::Aborted { consumer, handlers }.emit();
            let _ = tokio::time::timeout(ABORT, self.tasks.shutdown()).await;
        }
    }
}

/// Runs a group of deliveries, then the next group, until none may start.
async fn work(first: Group) {
    let mut next = Some(first);
    while let Some(mut group) = next {
        let jobs = std::mem::take(&mut group.jobs);
        let engine = Arc::clone(&group.shared.engine);
        job::run(&engine, jobs, |key| group.key_ended(key)).await;
        let shared = Arc::clone(&group.shared);
        drop(group);
        next = Shared::next(&shared);
    }
}

impl Shared {
    /// Takes the next deliveries that may run.
    fn next(shared: &Arc<Self>) -> Option<Group> {
        let (group, waiting, notify) = {
            let mut pool = shared.pool();
            let was_full = !pool.has_room();
            let group = pool.start();
            let has_room_now = was_full && pool.has_room();
            (group, pool.waiting(), has_room_now || pool.can_start())
        };
        shared.report_waiting(waiting, usize::from(!group.is_empty()));
        if notify {
            shared.changed.notify_one();
        }
        if group.is_empty() {
            return None;
        }
        Some(Group {
            keys: Mutex::new(keys_of(&group)),
            jobs: group.into_iter().map(|(_, job)| job).collect(),
            shared: Arc::clone(shared),
        })
    }

    /// Reports how many transactions will be needed, so that as many stay prefetched.
    fn report_waiting(&self, count: usize, starting: usize) {
        self.engine.settings.prefetched.set_waiting(count, starting);
    }

    fn pool(&self) -> MutexGuard<'_, Keyed<Job>> {
        // No method of `Keyed` can panic halfway through a change, so a poisoned lock is still consistent.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deliveries that one worker has started. Releases their keys and the worker's capacity when it is dropped,
/// also after a panic or an abort.
#[derive(Debug)]
struct Group {
    jobs: Vec<Job>,
    /// Keys with a delivery that has not ended.
    keys: Mutex<HashSet<String>>,
    shared: Arc<Shared>,
}

impl Group {
    /// Releases a key, so that its next deliveries can start while others of the group still run.
    fn key_ended(&self, key: String) {
        let mut keys = self.keys();
        if !keys.remove(&key) {
            return;
        }
        let mut pool = self.shared.pool();
        pool.key_ended(key);
        // This worker takes the next deliveries itself, but only after the whole group has ended.
        if pool.can_start() {
            self.shared.changed.notify_one();
        }
    }

    fn keys(&self) -> MutexGuard<'_, HashSet<String>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut *self.keys());
        let mut pool = self.shared.pool();
        for key in keys {
            pool.key_ended(key);
        }
        pool.group_ended();
    }
}
