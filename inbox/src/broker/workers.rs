//! The tasks that handle deliveries, over all connections.

use std::{collections::HashMap, sync::Arc, time::Duration};

use lapin::{Acker, options::BasicAckOptions};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    Delivery,
    engine::{self, Engine, Settled},
    events,
    keyed::Keyed,
};

/// Longest wait for an acknowledgement to be sent.
const ACKNOWLEDGE: Duration = Duration::from_secs(5);

/// Longest wait for aborted tasks: one that blocks its thread never ends.
const ABORT: Duration = Duration::from_secs(1);

/// A delivery from the queue, to be acknowledged on the channel that it came by.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) acker: Acker,
    /// Cancelled when that channel ends: the delivery comes again by another.
    pub(super) ended: CancellationToken,
}

/// The tasks that handle deliveries.
///
/// They outlive a connection: a delivery whose connection was lost still finishes and commits, and
/// its copy, when it comes again, waits for it because its key is taken.
#[derive(Debug)]
pub(super) struct Workers {
    engine: Arc<Engine>,
    pool: Keyed<Job>,
    tasks: JoinSet<()>,
    /// Keys of the running tasks.
    keys: HashMap<Id, Option<String>>,
}

impl Workers {
    pub(super) fn new(engine: Arc<Engine>, limit: usize) -> Self {
        Self {
            engine,
            pool: Keyed::new(limit),
            tasks: JoinSet::new(),
            keys: HashMap::new(),
        }
    }

    /// Takes a delivery, and starts it if it may run.
    pub(super) fn arrived(&mut self, job: Job) {
        self.pool.arrived(job.delivery.message().key.clone(), job);
        self.start();
    }

    /// Waits for a task to end, and starts what may run then. Never ends while none runs.
    pub(super) async fn ended(&mut self) {
        let ended = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return std::future::pending().await,
        };
        if let Some(key) = self.keys.remove(&ended) {
            self.pool.ended(key);
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

    fn start(&mut self) {
        while let Some((key, job)) = self.pool.start() {
            let task = self.tasks.spawn(run(Arc::clone(&self.engine), job));
            self.keys.insert(task.id(), key);
        }
    }
}

async fn run(engine: Arc<Engine>, job: Job) {
    let consumer = Arc::clone(&engine.settings.consumer);
    if engine::deliver(engine, job.delivery, job.ended).await == Settled::Leave {
        return;
    }
    // A clone of the channel would not be safe to publish on; acknowledging is.
    let acknowledge = job.acker.ack(BasicAckOptions::default());
    let acknowledged = tokio::time::timeout(ACKNOWLEDGE, acknowledge).await;
    if !matches!(acknowledged, Ok(Ok(true))) {
        let consumer = &consumer;
        events::Unacknowledged { consumer }.emit();
    }
}
