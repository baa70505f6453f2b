//! The tasks that handle deliveries, over all connections.

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

/// Longest wait for aborted tasks: one that blocks its thread never ends.
pub(crate) const ABORT: Duration = Duration::from_secs(1);

/// The tasks that handle deliveries.
///
/// They outlive a connection: a delivery whose connection was lost still finishes and commits, and
/// its copy, when it comes again, waits for it because its key is taken.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    /// Each goes on with the next deliveries until none may start.
    tasks: JoinSet<()>,
}

/// What the tasks share.
#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    pool: Mutex<Keyed<Job>>,
    /// There may be more to start than the running tasks see to, or room again.
    freed: Notify,
}

impl Workers {
    /// Makes `limit` workers, which each take up to `together` deliveries at a time.
    pub(super) fn new(engine: Arc<Engine>, limit: usize, messages_per_transaction: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                pool: Mutex::new(Keyed::new(limit, messages_per_transaction)),
                freed: Notify::new(),
            }),
            tasks: JoinSet::new(),
        }
    }

    /// Whether more deliveries should be taken. Keys that are busy take no room.
    pub(super) fn has_room(&self) -> bool {
        self.shared.pool().has_room()
    }

    /// Takes a delivery. [`Workers::start`] starts it.
    pub(super) fn arrived(&mut self, job: Job) {
        let key = job.delivery.message().key.clone();
        self.shared.pool().arrived(key, job);
    }

    /// Starts what may run and no running task sees to.
    pub(super) fn start(&mut self) {
        while let Some(group) = Shared::next(&self.shared) {
            self.tasks.spawn(work(group));
        }
    }

    /// Waits until more may run than before, and starts it, or until there is room again. Never ends
    /// while none runs.
    ///
    /// # Errors
    /// A worker panicked, outside of the handlers and of what surrounds them: its deliveries are settled
    /// by nobody.
    pub(super) async fn ended(&mut self) -> Result<(), JoinError> {
        let ended = tokio::select! {
            () = self.shared.freed.notified() => Ok(()),
            Some(ended) = self.tasks.join_next() => ended,
        };
        self.start();
        ended
    }

    /// Drops what has not started: its channel is gone, or the consumer stops.
    pub(super) fn forget_waiting(&mut self) {
        self.shared.pool().forget_waiting();
        self.shared.tell_waiting(0, 0);
    }

    /// Waits for the running tasks; aborts those that take longer than `grace`.
    pub(super) async fn finish(&mut self, grace: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            let (consumer, handlers) = (self.shared.engine.consumer(), self.tasks.len() as u64);
            events::Aborted { consumer, handlers }.emit();
            let _ = tokio::time::timeout(ABORT, self.tasks.shutdown()).await;
        }
    }
}

/// Runs deliveries, and then the next ones, until none may start.
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
        shared.tell_waiting(waiting, usize::from(!group.is_empty()));
        if notify {
            shared.freed.notify_one();
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

    /// Tells how many transactions will be asked for, so that as many are kept.
    fn tell_waiting(&self, count: usize, starting: usize) {
        self.engine.settings.prefetched.set_waiting(count, starting);
    }

    fn pool(&self) -> MutexGuard<'_, Keyed<Job>> {
        // Nothing in it can panic between two changes that belong together.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deliveries that one worker has started. Gives back their keys and its room when it is dropped,
/// however they ended.
#[derive(Debug)]
struct Group {
    jobs: Vec<Job>,
    /// Those with a delivery that has not ended.
    keys: Mutex<HashSet<String>>,
    shared: Arc<Shared>,
}

impl Group {
    /// Lets the next deliveries of a key start, although others of the group may take longer.
    fn key_ended(&self, key: String) {
        let mut keys = self.keys();
        if !keys.remove(&key) {
            return;
        }
        let mut pool = self.shared.pool();
        pool.key_ended(key);
        // After the last one, this worker looks for more itself; but others of the group may have
        // no key.
        if pool.can_start() {
            self.shared.freed.notify_one();
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
