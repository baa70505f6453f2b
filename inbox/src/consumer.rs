//! A consumer, ready to run.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use amqp::Address;
use tokio::{
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    ConsumerBuilder, Parked, RunError,
    broker::{ABORT, Stream, Topology},
    engine::Engine,
    events,
    janitor::Janitor,
    parked::Worker,
    ready,
};

/// Handles the messages of a queue, each once.
///
/// Made by [`Consumer::builder`].
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
    /// Begins a consumer. Its name stands in the tables, and is the queue's unless that is set.
    ///
    /// Processes with the same name share the work. A service that is renamed handles everything
    /// anew: the name is part of the record of what was handled.
    pub fn builder(name: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(name.into())
    }

    /// Returns the deliveries that this consumer parked.
    pub fn parked(&self) -> Parked {
        let settings = &self.engine.settings;
        Parked::with_statements(
            settings.pool.clone(),
            settings.statements,
            self.engine.consumer(),
        )
    }

    /// Consumes until `shutdown` ends.
    ///
    /// Broker and database may be started in any order, before or after: the consumer waits for
    /// them, and reconnects with growing waits. Then nothing new starts. What is under way is finished and
    /// acknowledged within the grace period, the handlers of messages that share a transaction one after
    /// another; what fails is not tried again, and everything else comes again.
    ///
    /// # Errors
    /// Returns what will not pass by itself: a schema of another release, a queue or exchange with
    /// other arguments, refused access, a pool that is closed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let consumer = self.engine.consumer().to_owned();
        let pool = self.engine.settings.pool.clone();
        // Boxed: it is large, and whoever awaits this would carry it.
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
        let aborts = |handlers| {
            let consumer = &consumer;
            events::Aborted { consumer, handlers }.emit();
        };
        let (ended, (), ()) = tokio::join!(
            stream,
            supervise(parked, &stop, grace, aborts),
            supervise(janitor, &stop, grace, |_| {}),
        );
        ended.map_err(|source| RunError::Broker { consumer, source })
    }
}

/// Waits for tasks that end when they are told to; aborts those that take longer than `grace`, and tells how
/// many.
async fn supervise(
    mut tasks: JoinSet<()>,
    stop: &CancellationToken,
    grace: Duration,
    aborts: impl FnOnce(u64),
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
                Some(Err(error)) => pass_on_panic(error),
                Some(Ok(())) => {}
                None => return,
            },
        }
    }
    aborts(tasks.len() as u64);
    let _ = timeout(ABORT, tasks.shutdown()).await;
}

/// A panic in a background task is a bug of this crate, not something to go on after.
fn pass_on_panic(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}
