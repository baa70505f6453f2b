//! The consumer: its tasks, and their start and shutdown.

mod builder;

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use amqp::Address;
use tokio::{
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

pub use builder::ConsumerBuilder;

use crate::{
    Parked, RunError,
    broker::{ABORT, Stream, Topology},
    engine::Engine,
    events,
    janitor::Janitor,
    parked::Worker,
    ready,
};

/// Receives the messages of a queue and handles each once.
///
/// Created by [`Consumer::builder`].
#[derive(Debug)]
pub struct Consumer {
    pub(crate) engine: Arc<Engine>,
    pub(crate) address: Address,
    pub(crate) topology: Topology,
    pub(crate) prefetch: u16,
    pub(crate) workers: usize,
    pub(crate) messages_per_transaction: usize,
    pub(crate) parked_workers: usize,
    pub(crate) grace: Duration,
}

impl Consumer {
    /// Returns the builder of a consumer with this name, 1 to 255 bytes. The queue has the same name, unless
    /// [`ConsumerBuilder::queue`] sets another.
    ///
    /// Processes with the same name share the work. Do not rename a consumer: the name is part of each
    /// message's record, so under another name every message counts as new.
    pub fn builder(name: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(name.into())
    }

    /// Returns access to the deliveries that this consumer parked.
    pub fn parked(&self) -> Parked {
        let settings = &self.engine.settings;
        Parked::with_statements(
            settings.pool.clone(),
            settings.statements,
            self.engine.consumer(),
        )
    }

    /// Consumes messages until the future `shutdown` completes.
    ///
    /// The broker and the database may start before or after the consumer: it waits for them, and reconnects
    /// with growing waits.
    ///
    /// After `shutdown`, no new handler starts. Running handlers are finished and their messages acknowledged
    /// within the grace period; handlers of messages that share a transaction run one after another. A
    /// failed attempt is not repeated. The broker redelivers all other messages.
    ///
    /// # Errors
    /// Returns an error for a problem that needs a change by an operator: a schema of another release, a
    /// queue or exchange with other arguments, refused access, or a closed pool.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let consumer = self.engine.consumer().to_owned();
        let pool = self.engine.settings.pool.clone();
        // Boxed, because the future is large and would be part of every caller's future.
        let mut running = Box::pin(self.run_until(stop.clone()));
        tokio::select! {
            ended = &mut running => return ended,
            () = shutdown => stop.cancel(),
            () = pool.close_event() => {
                stop.cancel();
                running.await?;
                return Err(RunError::PoolClosed { consumer });
            }
        }
        running.await
    }

    async fn run_until(self, stop: CancellationToken) -> Result<(), RunError> {
        let consumer = self.engine.consumer().to_owned();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ready = ready::wait(&self.engine) => ready?,
        }
        let mut parked = JoinSet::new();
        for number in 0..self.parked_workers {
            let worker = Worker::new(Arc::clone(&self.engine), number == 0);
            parked.spawn(worker.run(stop.clone()));
        }
        let mut janitor = JoinSet::new();
        janitor.spawn(Janitor::new(Arc::clone(&self.engine)).run(stop.clone()));
        let grace = self.grace;
        let stream = Stream::new(
            self.engine,
            self.address,
            self.topology,
            self.prefetch,
            (self.workers, self.messages_per_transaction),
            grace,
        );
        let stream = async {
            let ended = stream.run(&stop).await;
            stop.cancel();
            ended
        };
        let report_aborted = |handlers| {
            let consumer = &consumer;
            events::Aborted { consumer, handlers }.emit();
        };
        let (ended, (), ()) = tokio::join!(
            stream,
            supervise(parked, &stop, grace, report_aborted),
            supervise(janitor, &stop, grace, |_| {}),
        );
        ended.map_err(|source| RunError::Broker { consumer, source })
    }
}

/// Waits for tasks that end after `stop` is cancelled. Aborts those that take longer than `grace`, and calls
/// `report_aborted` with their number.
async fn supervise(
    mut tasks: JoinSet<()>,
    stop: &CancellationToken,
    grace: Duration,
    report_aborted: impl FnOnce(u64),
) {
    let stopped = async {
        stop.cancelled().await;
        sleep(grace).await;
    };
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            ended = tasks.join_next() => match ended {
                Some(Err(error)) => resume_panic(error),
                Some(Ok(())) => {}
                None => return,
            },
        }
    }
    report_aborted(tasks.len() as u64);
    let _ = timeout(ABORT, tasks.shutdown()).await;
}

/// Resumes a background task's panic, which is a bug of this crate: the consumer must not go on.
fn resume_panic(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}
