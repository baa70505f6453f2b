//! A subscription to the queue, on a connection of its own.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use amqp::{Channel, Connection, Delivered, Deliveries};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{acknowledging::Acknowledging, bindings::Bindings, topology::Topology};
use crate::{
    Delivery,
    intake::source::{Receipt, SourceError, Subscription},
};

/// Longest wait for the last acknowledgements to be sent.
const ACKNOWLEDGE: Duration = Duration::from_secs(5);

/// Longest wait for the broker to confirm the close of a connection.
pub(super) const CLOSE: Duration = Duration::from_secs(5);

/// A connection that consumes.
#[derive(Debug)]
pub(crate) struct QueueSubscription {
    connection: Connection,
    deliveries: Deliveries,
    /// Sends the tags of settled deliveries to `acknowledging`.
    settled: mpsc::UnboundedSender<u64>,
    /// Task that owns the channel and acknowledges on it.
    acknowledging: AbortOnDropHandle<()>,
    topology: Arc<Topology>,
    /// Bindings that the subscription keeps, and the task that repeats them; `None` if others keep them.
    bound: Option<(Bindings, AbortOnDropHandle<()>)>,
    /// Number of deliveries received.
    received: u64,
    /// Number of deliveries acknowledged.
    acknowledged: Arc<AtomicU64>,
}

impl QueueSubscription {
    /// Makes a subscription from a channel that has begun to consume, with up to `prefetch` unacknowledged
    /// deliveries.
    pub(super) fn new(
        connection: Connection,
        (channel, deliveries): (Channel, Deliveries),
        (topology, consumer): (Arc<Topology>, Arc<str>),
        prefetch: u16,
    ) -> Self {
        let (sender, settled) = mpsc::unbounded_channel();
        let acknowledged = Arc::default();
        let acknowledging = Acknowledging {
            channel,
            consumer,
            settled,
            batch: usize::from(prefetch / 4).max(1),
            acknowledged: Arc::clone(&acknowledged),
        };
        Self {
            deliveries,
            settled: sender,
            acknowledging: AbortOnDropHandle::new(tokio::spawn(acknowledging.run())),
            topology,
            bound: None,
            connection,
            received: 0,
            acknowledged,
        }
    }

    /// Keeps the queue bound for as long as the subscription lasts.
    pub(super) fn with_bindings(mut self, bindings: Bindings) -> Self {
        let keeping = bindings.keep(&self.connection);
        self.bound = Some((bindings, keeping));
        self
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the number of deliveries that are not acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.received - self.acknowledged.load(Relaxed)
    }

    fn received(&mut self, delivered: Delivered) -> (Delivery, Receipt) {
        self.received += 1;
        let mut message = delivered.message;
        let is_counted = delivered.redelivered && self.topology.counts_redeliveries();
        if !is_counted {
            // The count in the message is a publisher's or another queue's, and means nothing here.
            message.delivery_count = 0;
        }
        let delivery = Delivery::new(message, delivered.payload);
        let receipt = Receipt::new(delivered.tag, self.settled.clone());
        (delivery, receipt)
    }
}

impl Subscription for QueueSubscription {
    async fn next(&mut self) -> Result<(Delivery, Receipt), SourceError> {
        loop {
            tokio::select! {
                // Deliveries first: the two tasks end rarely, and are seen once no delivery is there.
                biased;
                next = self.deliveries.next() => return match next {
                    Some(Ok(delivered)) => Ok(self.received(delivered)),
                    Some(Err(error)) => Err(SourceError::Lost(error.into())),
                    None => Err(SourceError::Lost(
                        "the broker cancelled the consumer; was its queue deleted?".into(),
                    )),
                },
                () = ended(&mut self.bound) => if let Some((bindings, keeping)) = &mut self.bound {
                    *keeping = bindings.keep(&self.connection);
                },
                _ = &mut self.acknowledging => {
                    return Err(SourceError::Lost("the task that acknowledges ended".into()));
                }
            }
        }
    }

    async fn close(self) {
        drop(self.settled);
        let _ = tokio::time::timeout(ACKNOWLEDGE, self.acknowledging).await;
        self.connection.close(CLOSE).await;
    }
}

/// Waits for the end of the task that repeats the bindings; for ever if there is none.
async fn ended(bound: &mut Option<(Bindings, AbortOnDropHandle<()>)>) {
    match bound {
        Some((_, keeping)) => drop(keeping.await),
        None => pending().await,
    }
}
