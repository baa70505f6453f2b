//! A subscription to the queue, on a connection of its own.

use std::{sync::Arc, time::Duration};

use amqp::{Channel, Connection, Delivered, Deliveries};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{acknowledging::Acknowledging, bindings::Bindings};
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
    bindings: Bindings,
    /// Task that repeats the bindings.
    bound: AbortOnDropHandle<()>,
}

impl QueueSubscription {
    /// Makes a subscription from a channel that has begun to consume, with up to `prefetch` unacknowledged
    /// deliveries.
    pub(super) fn new(
        connection: Connection,
        channel: Channel,
        deliveries: Deliveries,
        bindings: Bindings,
        prefetch: u16,
    ) -> Self {
        let (sender, settled) = mpsc::unbounded_channel();
        let acknowledging = Acknowledging {
            channel,
            consumer: Arc::clone(&bindings.consumer),
            settled,
            batch: usize::from(prefetch / 4).max(1),
        };
        Self {
            deliveries,
            settled: sender,
            acknowledging: AbortOnDropHandle::new(tokio::spawn(acknowledging.run())),
            bound: bindings.keep(&connection),
            bindings,
            connection,
        }
    }

    fn received(&self, delivered: Delivered) -> (Delivery, Receipt) {
        let mut message = delivered.message;
        let is_counted = delivered.redelivered && self.bindings.topology.counts_redeliveries();
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
                _ = &mut self.bound => self.bound = self.bindings.keep(&self.connection),
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
