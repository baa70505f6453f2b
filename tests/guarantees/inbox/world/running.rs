//! A consumer that runs.

use inbox::{ConsumerBuilder, RunError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use postroom_testkit::{DEADLINE, eventually};

use super::Broker;

/// A consumer that runs beside a test.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Running {
    /// Starts a consumer, and waits until it receives from `queue`.
    pub(crate) async fn start<S>(
        broker: &Broker,
        queue: &str,
        builder: ConsumerBuilder<S>,
    ) -> Self {
        eventually("an earlier consumer is gone", || async {
            !matches!(broker.queue(queue).await, Some((_, 1..)))
        })
        .await;
        let running = Self::spawn(builder);
        eventually("the consumer receives", || async {
            assert!(!running.task.is_finished(), "the consumer ended");
            matches!(broker.queue(queue).await, Some((_, 1..)))
        })
        .await;
        running
    }

    /// Starts a consumer.
    pub(crate) fn spawn<S>(builder: ConsumerBuilder<S>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let consumer = builder.build().unwrap();
        Self {
            stop,
            task: tokio::spawn(consumer.run(stopped)),
        }
    }

    /// Tells the consumer to stop.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops the consumer, and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.result().await.unwrap();
    }

    /// Waits for the consumer's end.
    pub(crate) async fn result(self) -> Result<(), RunError> {
        let ended = tokio::time::timeout(DEADLINE, self.task).await;
        ended.expect("the consumer did not end").unwrap()
    }

    /// Ends the consumer as a crash would.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
