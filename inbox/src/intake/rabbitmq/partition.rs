//! The queue of one partition as a source of deliveries.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use amqp::{Connection, marker_token};
use postroom_message::errors::chain;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{answer::answer, markers::Markers, source::RabbitMq, subscription::QueueSubscription};
use crate::{
    Delivery,
    intake::source::{Receipt, Source, SourceError, Subscription},
    layout::Partition,
};

/// Time between two looks at a queue whose marker has arrived.
const LOOK: Duration = Duration::from_millis(100);

/// The queue of a partition, which others declare and bind.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    broker: RabbitMq,
    queue: String,
    markers: Markers,
    subscribed: Subscribed,
}

/// Reason why a partition's queue has no subscription; `None` while it has one.
#[derive(Debug, Clone)]
pub(crate) struct Subscribed(Arc<Mutex<Option<String>>>);

impl Default for Subscribed {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some("subscribing".to_owned()))))
    }
}

impl Subscribed {
    /// Returns the reason why there is no subscription.
    pub(crate) fn problem(&self) -> Option<String> {
        let problem = self.0.lock();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

impl PartitionQueue {
    pub(crate) fn new(
        broker: RabbitMq,
        partition: Partition,
        markers: Markers,
        subscribed: Subscribed,
    ) -> Self {
        Self {
            queue: broker.topology().queue_of(partition),
            broker,
            markers,
            subscribed,
        }
    }
}

impl Source for PartitionQueue {
    type Subscription = PartitionSubscription;

    fn name(&self) -> &str {
        &self.queue
    }

    async fn subscribe(
        &self,
        _stop: &CancellationToken,
    ) -> Result<Option<PartitionSubscription>, SourceError> {
        let subscribed = self.broker.consume_existing(&self.queue).await;
        let inner = subscribed.inspect_err(|error| self.subscribed.set(Some(chain(error))))?;
        self.markers.reset();
        self.subscribed.set(None);
        Ok(Some(PartitionSubscription {
            looking: look(inner.connection(), self.queue.clone(), self.markers.clone()),
            inner,
            markers: self.markers.clone(),
            subscribed: self.subscribed.clone(),
        }))
    }
}

/// Looks at the queue at intervals while markers are held.
fn look(connection: &Connection, queue: String, markers: Markers) -> AbortOnDropHandle<()> {
    let opening = connection.open_channel();
    AbortOnDropHandle::new(tokio::spawn(async move {
        // Without a channel, or with one that the broker has closed, the subscription ends soon too.
        let Ok(channel) = answer("opening a channel", opening).await else {
            return;
        };
        loop {
            sleep(LOOK).await;
            if markers.held() > 0 {
                let counts = answer("looking at the queue", channel.counts(&queue)).await;
                markers.looked(counts.is_ok_and(|counts| counts.ready == 0));
            }
        }
    }))
}

/// A subscription that holds markers back.
#[derive(Debug)]
pub(crate) struct PartitionSubscription {
    inner: QueueSubscription,
    markers: Markers,
    subscribed: Subscribed,
    /// Task that looks at the queue; ends with the subscription.
    looking: AbortOnDropHandle<()>,
}

impl Subscription for PartitionSubscription {
    async fn next(&mut self) -> Result<(Delivery, Receipt), SourceError> {
        loop {
            if let Some(rejected) = self.markers.rejected() {
                return Ok(rejected);
            }
            tokio::select! {
                // Deliveries first: the end of the queue is judged only while none has arrived.
                biased;
                next = self.inner.next() => {
                    let next = next.inspect_err(|error| self.subscribed.set(Some(chain(error))));
                    let (delivery, receipt) = next?;
                    let Some(token) = marker_token(delivery.message()) else {
                        self.markers.delivered();
                        return Ok((delivery, receipt));
                    };
                    self.markers.hold(token, delivery, receipt);
                }
                () = self.markers.changed() => {
                    self.markers.nothing_arrived(self.inner.unacknowledged());
                }
            }
        }
    }

    async fn close(self) {
        drop(self.looking);
        self.inner.close().await;
    }
}
