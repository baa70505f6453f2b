//! Tasks that handle deliveries, shared by all subscriptions of a stream.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, oneshot},
    task::{JoinError, JoinSet},
    time::timeout,
};

use super::{
    job::{self, Job},
    keyed::{Keyed, keys_of},
};
use crate::{engine::Engine, events, transaction::WorkerConnection};

/// Longest wait for aborted tasks: a task that blocks its thread never ends.
pub(crate) const ABORT: Duration = Duration::from_secs(1);

/// Tasks that handle deliveries.
///
/// They outlive a subscription: a delivery whose subscription was lost still finishes and commits. When the
/// source delivers the message again, the copy waits for it, because the key is busy.
#[derive(Debug)]
pub(super) struct Workers {
    shared: Arc<Shared>,
    /// Running tasks. Each one goes on with the next deliveries until none may start.
    tasks: JoinSet<()>,
    /// `true` if deliveries may share a transaction.
    shares: bool,
}

/// State that all tasks share.
#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    /// One permit for each transaction at a time, shared by all streams of the consumer.
    permits: Arc<Semaphore>,
    pool: Mutex<Keyed<Job>>,
    /// Tasks that hold a connection and wait a moment for the next deliveries; the last one to wait is the first
    /// to receive some.
    waiting: Mutex<Vec<oneshot::Sender<Group>>>,
    /// Notified when deliveries may start that no running task takes, or when there is room for more.
    changed: Notify,
}

impl Workers {
    /// Makes up to `limit` workers, each of which takes up to `messages_per_transaction` deliveries at a time.
    /// The workers of all streams that have the same `permits` run as many transactions at a time as there are permits.
    pub(super) fn new(
        engine: Arc<Engine>,
        permits: Arc<Semaphore>,
        (limit, messages_per_transaction): (usize, usize),
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine,
                permits,
                pool: Mutex::new(Keyed::new(limit, messages_per_transaction)),
                waiting: Mutex::default(),
                changed: Notify::new(),
            }),
            tasks: JoinSet::new(),
            shares: messages_per_transaction > 1,
        }
    }

    /// Returns `true` if more deliveries should be taken. Deliveries of busy keys do not count.
    pub(super) fn has_room(&self) -> bool {
        self.shared.pool().has_room()
    }

    /// Adds a delivery to those that wait; [`Workers::start`] starts it.
    pub(super) fn arrived(&mut self, job: Job) {
        let engine = &self.shared.engine;
        engine.tracker.received();
        // An untrusted delivery may not hold up those of the key that it claims.
        let is_trusted = engine.refusal(&job.delivery).is_none();
        let key = job.delivery.message().key.clone();
        let key = key.filter(|_| is_trusted);
        let alone = self.shares && !engine.can_share(&job.delivery);
        self.shared.pool().arrived(key, job, alone);
    }

    /// Hands each group of deliveries that may run now to a task.
    pub(super) fn start(&mut self) {
        while let Some(group) = Shared::next(&self.shared) {
            if let Some(group) = self.shared.hand_to_waiting(group) {
                self.tasks.spawn(work(group));
            }
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

    /// Drops deliveries that have not started, because their subscription is gone or the consumer stops.
    pub(super) fn forget_waiting(&mut self) {
        self.shared.pool().forget_waiting();
    }

    /// Waits for the running tasks; aborts tasks that take longer than `grace`.
    pub(super) async fn finish(&mut self, grace: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(grace, all).await.is_err() {
            let (consumer, handlers) = (self.shared.engine.consumer(), self.tasks.len() as u64);
            events::Aborted { consumer, handlers }.emit();
            let _ = timeout(ABORT, self.tasks.shutdown()).await;
        }
    }
}

/// Runs a group of deliveries, then the next group, until none may start.
async fn work(first: Group) {
    let mut connection = WorkerConnection::default();
    let mut next = Some(first);
    while let Some(group) = next {
        let shared = Arc::clone(&group.shared);
        group.run(&mut connection).await;
        next = match Shared::next(&shared) {
            Some(group) => Some(group),
            None => shared.wait(&connection).await,
        };
    }
}

impl Shared {
    /// Takes the next deliveries that may run.
    fn next(shared: &Arc<Self>) -> Option<Group> {
        let (group, notify) = {
            let mut pool = shared.pool();
            let was_full = !pool.has_room();
            let group = pool.start();
            let has_room_now = was_full && pool.has_room();
            (group, has_room_now || pool.can_start())
        };
        if notify {
            shared.changed.notify_one();
        }
        if group.is_empty() {
            return None;
        }
        Some(Group {
            keys: keys_of(&group),
            jobs: group.into_iter().map(|(_, job)| job).collect(),
            shared: Arc::clone(shared),
        })
    }

    /// Waits for the next deliveries while the connection has a transaction for them.
    async fn wait(&self, connection: &WorkerConnection) -> Option<Group> {
        let time_left = connection.time_left()?;
        let (sender, mut receiver) = oneshot::channel();
        self.waiting().push(sender);
        if let Ok(received) = timeout(time_left, &mut receiver).await {
            return received.ok();
        }
        receiver.close();
        self.waiting().retain(|sender| !sender.is_closed());
        // A group may have been sent just before.
        receiver.try_recv().ok()
    }

    /// Hands a group to a task that waits for one; returns the group if no task does.
    fn hand_to_waiting(&self, mut group: Group) -> Option<Group> {
        let mut waiting = self.waiting();
        while let Some(sender) = waiting.pop() {
            match sender.send(group) {
                Ok(()) => return None,
                // The task has stopped waiting.
                Err(refused) => group = refused,
            }
        }
        Some(group)
    }

    fn pool(&self) -> MutexGuard<'_, Keyed<Job>> {
        // No method of `Keyed` can panic halfway through a change, so a poisoned lock is still consistent.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<oneshot::Sender<Group>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deliveries that one task has started. Releases their keys and the task's capacity when it is dropped, also
/// after a panic or an abort.
#[derive(Debug)]
struct Group {
    jobs: Vec<Job>,
    /// Keys with a delivery that has not ended.
    keys: HashSet<String>,
    shared: Arc<Shared>,
}

impl Group {
    /// Runs the deliveries. Those that have to run alone may start again.
    async fn run(mut self, connection: &mut WorkerConnection) {
        // Fails only if the semaphore is closed, which never happens.
        let permits = Arc::clone(&self.shared.permits);
        let _permit = permits.acquire().await;
        let jobs = std::mem::take(&mut self.jobs);
        let alone = job::run(&self.shared.engine, connection, jobs).await;
        if alone.is_empty() {
            return;
        }
        let alone = alone.into_iter().map(|job| {
            let key = job.delivery.message().key.clone();
            if let Some(key) = &key {
                self.keys.remove(key);
            }
            (key, job)
        });
        let alone = alone.collect();
        self.shared.pool().start_again_alone(alone);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.shared.pool().ended(self.keys.drain());
    }
}
