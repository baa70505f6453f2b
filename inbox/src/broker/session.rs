//! One connection that consumes, until it is lost or the consumer stops.

use std::{sync::Arc, time::Duration};

use amqp::{Channel, Connection, Delivered, Deliveries};
use futures_util::FutureExt;
use tokio::{sync::mpsc, time::interval};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};

use postroom_message::errors::chain;

use super::{
    CLOSE,
    acknowledging::Acknowledging,
    bindings::Bindings,
    job::{Job, Receipt},
    workers::Workers,
};

use crate::Delivery;

/// Longest wait for the last acknowledgements to be sent.
const ACKNOWLEDGE: Duration = Duration::from_secs(5);

/// Time between two checks of the subscription while enough deliveries wait for a worker.
const POLL: Duration = Duration::from_millis(500);

const CANCELLED: &str = "the broker cancelled the consumer; was its queue deleted?";

/// Item that the subscription yields.
type Next = Option<Result<Delivered, amqp::Error>>;

/// A connection that consumes.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    deliveries: Deliveries,
    /// Sends the tags of settled deliveries to `acknowledging`.
    settled: mpsc::UnboundedSender<u64>,
    /// Task that owns the channel and acknowledges on it.
    acknowledging: AbortOnDropHandle<()>,
    bindings: Bindings,
    /// Cancelled when the session ends, for its deliveries.
    ended: CancellationToken,
    /// Cancels `ended` when the session is dropped.
    _guard: DropGuard,
}

/// Reason why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The consumer stops, and its running deliveries have ended.
    Stopped,
    /// The connection, the channel or the queue is gone.
    Lost(String),
}

impl Session {
    /// Makes a session from a channel that has begun to consume, with up to `prefetch` unacknowledged deliveries.
    pub(super) fn new(
        connection: Connection,
        channel: Channel,
        deliveries: Deliveries,
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
            batch: usize::from(prefetch / 4).max(1),
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
        let mut poll = interval(POLL);
        let mut polls = false;
        let mut bound = self.bindings.keep(&self.connection);
        let lost = loop {
            // While the workers have no room, deliveries are taken at intervals only: waking up for each one
            // would cost more than it gains.
            let takes = polls || workers.has_room();
            tokio::select! {
                () = stop.cancelled() => return self.finish(workers, grace).await,
                ended = workers.ended() => if let Err(panicked) = ended {
                    // The broker delivers all unacknowledged messages again on the next connection.
                    break format!("a worker ended unexpectedly: {panicked}");
                },
                next = self.deliveries.next(), if takes => {
                    polls = false;
                    if let Err(lost) = self.take(next, workers) {
                        break lost;
                    }
                }
                _ = poll.tick() => polls = true,
                _ = &mut bound => bound = self.bindings.keep(&self.connection),
                _ = &mut self.acknowledging => {
                    break "the task that acknowledges ended".to_owned();
                }
            }
        };
        // The broker delivers them again.
        workers.forget_waiting();
        End::Lost(lost)
    }

    /// Starts no more deliveries, and closes the connection once the running ones have ended.
    ///
    /// The subscription stays until then: otherwise the next single active consumer would receive messages of
    /// keys that are still being handled here.
    async fn finish(self, workers: &mut Workers, grace: Duration) -> End {
        workers.forget_waiting();
        // Ends deliveries that wait for another attempt; the broker delivers them again.
        self.ended.cancel();
        workers.finish(grace).await;
        drop(self.settled);
        let _ = tokio::time::timeout(ACKNOWLEDGE, self.acknowledging).await;
        self.connection.close(CLOSE).await;
        End::Stopped
    }

    /// Closes the connection of a session that never ran.
    pub(super) async fn close(self) {
        self.connection.close(CLOSE).await;
    }

    /// Passes a delivery, and all others that have already arrived, to the workers, and then starts them: so they
    /// can share a transaction.
    ///
    /// # Errors
    /// Returns the reason if the subscription has ended.
    fn take(&mut self, first: Next, workers: &mut Workers) -> Result<(), String> {
        let mut next = Some(first);
        while let Some(received) = next {
            match received {
                Some(Ok(delivery)) => workers.arrived(self.job(delivery)),
                Some(Err(error)) => return Err(chain(&error)),
                None => return Err(CANCELLED.to_owned()),
            }
            next = self.deliveries.next().now_or_never();
        }
        workers.start();
        Ok(())
    }

    fn job(&self, delivered: Delivered) -> Job {
        let mut message = delivered.message;
        let is_counted = delivered.redelivered && self.bindings.topology.counts_redeliveries();
        if !is_counted {
            // The count in the message is a publisher's or another queue's, and means nothing here.
            message.delivery_count = 0;
        }
        Job {
            delivery: Delivery::new(message, delivered.payload),
            receipt: Receipt {
                tag: delivered.tag,
                settled: self.settled.clone(),
            },
            ended: self.ended.clone(),
        }
    }
}
