//! The tasks of a consumer, and their start and shutdown.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    RunError,
    engine::Engine,
    events,
    intake::{ABORT, Intake},
    janitor::Janitor,
    parked::Worker,
    partitions::ReadError,
    ready,
    status::Tracker,
};
use postroom_message::errors::chain;

/// Reads the deliveries of a consumer until the token is cancelled.
pub(super) trait Read:
    AsyncFnOnce(Intake, &CancellationToken) -> Result<(), ReadError>
{
}

impl<F> Read for F where F: AsyncFnOnce(Intake, &CancellationToken) -> Result<(), ReadError> {}

/// The tasks of a consumer.
#[derive(Debug)]
pub(super) struct Tasks {
    pub(super) engine: Arc<Engine>,
    /// Largest number of transactions at a time.
    pub(super) workers: usize,
    pub(super) messages_per_transaction: usize,
    pub(super) parked_workers: usize,
    /// Longest wait for running handlers after a stop.
    pub(super) grace: Duration,
}

impl Tasks {
    /// Runs the tasks until `shutdown` completes or the pool is closed.
    ///
    /// `read` reads the consumer's deliveries, from what has the name `source`.
    pub(super) async fn run(
        self,
        source: &str,
        read: impl Read,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let tracker = Arc::clone(&self.engine.tracker);
        tracker.set_queue(source);
        events::zero(self.engine.consumer());
        let run = tracker.started();
        let ended = self.run_and_report(read, shutdown, &tracker).await;
        let error = ended.as_ref().err().map(|error| chain(error));
        run.ended(error.as_deref());
        ended
    }

    async fn run_and_report(
        self,
        read: impl Read,
        shutdown: impl Future<Output = ()>,
        tracker: &Tracker,
    ) -> Result<(), RunError> {
        let stop = CancellationToken::new();
        let consumer = self.engine.consumer().to_owned();
        let pool = self.engine.settings.pool.clone();
        // Boxed, because the future is large and would be part of every caller's future.
        let mut running = Box::pin(self.run_until(read, stop.clone()));
        tokio::select! {
            ended = &mut running => return ended,
            () = shutdown => {}
            () = pool.close_event() => {
                stop.cancel();
                running.await?;
                return Err(RunError::PoolClosed { consumer });
            }
        }
        tracker.stopping();
        stop.cancel();
        running.await
    }

    async fn run_until(self, read: impl Read, stop: CancellationToken) -> Result<(), RunError> {
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
        let workers = (self.workers, self.messages_per_transaction);
        let intake = Intake::new(self.engine, workers, grace);
        let reading = async {
            let ended = read(intake, &stop).await;
            stop.cancel();
            ended
        };
        let report_aborted = |handlers| {
            let consumer = &consumer;
            events::Aborted { consumer, handlers }.emit();
        };
        let (ended, (), ()) = tokio::join!(
            reading,
            supervise(parked, &stop, grace, report_aborted),
            supervise(janitor, &stop, grace, |_| {}),
        );
        ended.map_err(|error| match error {
            ReadError::Broker(source) => RunError::Broker { consumer, source },
            ReadError::Database(source) => RunError::Database { consumer, source },
        })
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
