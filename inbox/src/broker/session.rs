//! One connection's time: from the first delivery to its loss, or to the end of the consumer.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use lapin::{Channel, Consumer};
use tokio::{sync::mpsc, time::interval};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

use postroom_message::errors::chain;

use super::{
    acknowledging::Acknowledging,
    bindings::Bindings,
    closing::Closing,
    job::{Job, Receipt},
    workers::Workers,
};

use crate::Delivery;

/// Longest wait for the last acknowledgements to be sent.
const CLOSE: Duration = Duration::from_secs(5);

/// How often to look whether the subscription is still there, while enough deliveries wait.
const LOOK: Duration = Duration::from_millis(500);

const CANCELLED: &str = "the broker cancelled the consumer; was its queue deleted?";

/// What the subscription yields.
type Next = Option<Result<lapin::message::Delivery, lapin::Error>>;

/// A connection that consumes.
#[derive(Debug)]
pub(super) struct Session {
    connection: Closing,
    deliveries: Consumer,
    /// Takes the tags of settled deliveries.
    settled: mpsc::UnboundedSender<u64>,
    /// Has the channel.
    acknowledging: AbortOnDropHandle<()>,
    bindings: Bindings,
    /// Tells the session's deliveries that it has ended.
    ended: CancellationToken,
    /// Cancels `ended`, however the session ends.
    _guard: DropGuard,
}

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The consumer stops, and everything that ran has ended.
    Stopped,
    /// The connection, the channel or the queue is gone.
    Lost(String),
}

impl Session {
    /// Begins with a channel that has begun to consume, up to `prefetch` deliveries ahead.
    pub(super) fn new(
        connection: Closing,
        channel: Channel,
        deliveries: Consumer,
        bindings: Bindings,
        prefetch: u16,
    ) -> Self {
        let consumer = Arc::clone(&bindings.consumer);
        let ended = CancellationToken::new();
        let (sender, settled) = mpsc::unbounded_channel();
        let acknowledging = Acknowledging {
            channel,
            consumer,
            settled,
            enough: usize::from(prefetch / 4).max(1),
        };
        Self {
            connection,
            deliveries,
            settled: sender,
            bindings,
            acknowledging: AbortOnDropHandle::new(tokio::spawn(acknowledging.run())),
            _guard: ended.clone().drop_guard(),
            ended,
        }
    }

    /// Hands deliveries to the workers until the session or the consumer ends.
    pub(super) async fn run(
        mut self,
        workers: &mut Workers,
        stop: &CancellationToken,
        grace: Duration,
    ) -> End {
        let mut look = interval(LOOK);
        let mut looks = false;
        let mut bound = self.bindings.keep(&self.connection);
        let lost = loop {
            // Woken for each delivery that comes, this would cost more than it gains.
            let takes = looks || workers.has_room();
            tokio::select! {
                () = stop.cancelled() => return self.finish(workers, grace).await,
                ended = workers.ended() => if let Err(panicked) = ended {
                    // All that is not acknowledged comes again, by another connection.
                    break format!("a worker ended unexpectedly: {panicked}");
                },
                next = self.deliveries.next(), if takes => {
                    looks = false;
                    if let Err(lost) = self.take(next, workers) {
                        break lost;
                    }
                }
                _ = look.tick() => looks = true,
                _ = &mut bound => bound = self.bindings.keep(&self.connection),
                _ = &mut self.acknowledging => {
                    break "the task that acknowledges ended".to_owned();
                }
            }
        };
        // They come again.
        workers.forget_waiting();
        End::Lost(lost)
    }

    /// Starts nothing more, and closes the connection once everything has ended.
    ///
    /// The subscription stays until then: without it a single active consumer's successor would
    /// take the next messages of keys that are still being handled here.
    async fn finish(self, workers: &mut Workers, grace: Duration) -> End {
        workers.forget_waiting();
        // Those that wait for another try give up; they come again.
        self.ended.cancel();
        workers.finish(grace).await;
        drop(self.settled);
        let _ = tokio::time::timeout(CLOSE, self.acknowledging).await;
        self.connection.close().await;
        End::Stopped
    }

    /// Ends before any delivery was taken.
    pub(super) async fn close(self) {
        self.connection.close().await;
    }

    /// Takes a delivery and those that have come with it, before any of them starts.
    ///
    /// # Errors
    /// Why there will be no more.
    fn take(&mut self, first: Next, workers: &mut Workers) -> Result<(), String> {
        let mut next = Some(first);
        while let Some(came) = next {
            match came {
                Some(Ok(delivery)) => workers.arrived(self.job(delivery)),
                Some(Err(error)) => return Err(chain(&error)),
                None => return Err(CANCELLED.to_owned()),
            }
            next = self.deliveries.next().now_or_never();
        }
        workers.start();
        Ok(())
    }

    fn job(&self, delivery: lapin::message::Delivery) -> Job {
        let mut message = amqp::decode(delivery.routing_key.as_str(), &delivery.properties);
        let is_counted = delivery.redelivered && self.bindings.topology.counts_redeliveries();
        if !is_counted {
            // What a publisher says of it, who has sent on what it was given, or another queue.
            message.delivery_count = 0;
        }
        Job {
            delivery: Delivery::new(message, delivery.data),
            receipt: Receipt {
                tag: delivery.delivery_tag,
                settled: self.settled.clone(),
            },
            ended: self.ended.clone(),
        }
    }
}
