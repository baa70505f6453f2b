//! The seam between a consumer and whatever delivers its messages: deliveries in, settlements out.
//!
//! [`Consumer::run`](crate::Consumer::run) reads a queue of RabbitMQ;
//! [`Consumer::run_over`](crate::Consumer::run_over) reads any [`Source`].

use std::{error::Error, fmt::Debug, future::Future};

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::BrokerError;
use crate::Delivery;

/// Source of deliveries, such as a queue.
///
/// The consumer holds one subscription at a time. It subscribes again, after growing waits, when a
/// subscription ends.
pub trait Source: Debug + Send + Sync + 'static {
    /// An open subscription of this source.
    type Subscription: Subscription;

    /// Returns the name for log lines, such as the queue's.
    fn name(&self) -> &str;

    /// Subscribes. Returns `None` if `stop` was cancelled while the source waited for something.
    ///
    /// # Errors
    /// Returns [`SourceError::Refused`] if only an operator can help, and [`SourceError::Lost`] if another try may.
    fn subscribe(
        &self,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Option<Self::Subscription>, SourceError>> + Send;
}

/// An open subscription.
///
/// Guarantees that a source owes the consumer:
///
/// - Deliveries of one key come in the queue's order, and only one subscription of a consumer receives them.
/// - A delivery that was not acknowledged comes again, on the next subscription, before later ones of its key.
/// - The number of deliveries that are not acknowledged is bounded.
pub trait Subscription: Debug + Send + 'static {
    /// Waits for the next delivery. Cancel safe: a dropped future loses no delivery.
    ///
    /// # Errors
    /// Returns the reason why the subscription has ended.
    fn next(&mut self) -> impl Future<Output = Result<(Delivery, Receipt), SourceError>> + Send;

    /// Sends the acknowledgements that have been given, and ends the subscription. Deliveries that were not
    /// acknowledged come again to the next subscriber.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Handle by which the consumer acknowledges one delivery. Dropped without an acknowledgement, it leaves the
/// delivery to be delivered again.
#[derive(Debug)]
pub struct Receipt {
    tag: u64,
    acknowledged: UnboundedSender<u64>,
}

impl Receipt {
    /// Makes the receipt of a delivery. Its acknowledgement sends `tag` to the source.
    pub const fn new(tag: u64, acknowledged: UnboundedSender<u64>) -> Self {
        Self { tag, acknowledged }
    }

    /// Acknowledges the delivery: its result is committed.
    pub(super) fn acknowledge(self) {
        // Fails if the subscription has ended; the delivery then comes again, and is a duplicate.
        let _ = self.acknowledged.send(self.tag);
    }
}

/// Reason why there is no subscription.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A refusal that stays until an operator acts: the consumer ends.
    #[error(transparent)]
    Refused(#[from] BrokerError),
    /// The source cannot be reached, or the subscription ended: the consumer subscribes again.
    #[error(transparent)]
    Lost(Box<dyn Error + Send + Sync>),
}
