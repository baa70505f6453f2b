//! The tasks that handle deliveries, over all connections.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
};

use super::job::{self, Job};
use crate::{
    engine::Engine,
    events,
    keyed::{Keyed, keys_of},
};

/// Longest wait for aborted tasks: one that blocks its thread never ends.
const ABORT: Duration = Duration::from_secs(1);

/// The tasks that handle deliveries.
///
/// They outlive a connection: a delivery whose connection was lost still finishes and commits, and
/// its copy, when it comes again, waits for it because its key is taken.
#[derive(Debug)]
pub(super) struct Workers {
    engine: Arc<Engine>,
    pool: Keyed<Job>,
    tasks: JoinSet<()>,
    /// Keys of the running tasks that have not ended.
    keys: HashMap<Id, HashSet<String>>,
    /// Keys that ended before their tasks: others of the group may take longer.
    ended_keys: mpsc::UnboundedReceiver<(Id, String)>,
    key_ends: mpsc::UnboundedSender<(Id, String)>,
}

impl Workers {
    /// Makes `limit` workers, which each take up to `together` deliveries at a time.
    pub(super) fn new(engine: Arc<Engine>, limit: usize, together: usize) -> Self {
        let (key_ends, ended_keys) = mpsc::unbounded_channel();
        Self {
            engine,
            pool: Keyed::new(limit, together),
            tasks: JoinSet::new(),
            keys: HashMap::new(),
            ended_keys,
            key_ends,
        }
    }

    /// Takes a delivery. [`Workers::start`] starts it.
    pub(super) fn arrived(&mut self, job: Job) {
        self.pool.arrived(job.delivery.message().key.clone(), job);
    }

    /// Starts what may run.
    pub(super) fn start(&mut self) {
        loop {
            let group = self.pool.start();
            if group.is_empty() {
                return;
            }
            let keys = keys_of(&group);
            let jobs = group.into_iter().map(|(_, job)| job).collect();
            let work = job::run(Arc::clone(&self.engine), jobs, self.key_ends.clone());
            let task = self.tasks.spawn(work);
            self.keys.insert(task.id(), keys);
        }
    }

    /// Waits for a key or a task to end, and starts what may run then. Never ends while none runs.
    pub(super) async fn ended(&mut self) {
        let ended = tokio::select! {
            Some((task, key)) = self.ended_keys.recv() => {
                if self.keys.get_mut(&task).is_some_and(|keys| keys.remove(&key)) {
                    self.pool.key_ended(key);
                }
                None
            }
            Some(ended) = self.tasks.join_next_with_id() => Some(match ended {
                Ok((task, ())) => task,
                Err(error) => error.id(),
            }),
        };
        if let Some(task) = ended {
            for key in self.keys.remove(&task).unwrap_or_default() {
                self.pool.key_ended(key);
            }
            self.pool.group_ended();
        }
        self.start();
    }

    /// Drops what has not started: its channel is gone, or the consumer stops.
    pub(super) fn forget_waiting(&mut self) {
        self.pool.forget_waiting();
    }

    /// Waits for the running tasks; aborts those that take longer than `grace`.
    pub(super) async fn finish(&mut self, grace: Duration) {
        let all = async {
            while self.pool.running() > 0 {
                self.ended().await;
            }
        };
        if tokio::time::timeout(grace, all).await.is_err() {
            let (consumer, handlers) = (self.engine.consumer(), self.tasks.len() as u64);
            events::Aborted { consumer, handlers }.emit();
            let _ = tokio::time::timeout(ABORT, self.tasks.shutdown()).await;
        }
    }
}
