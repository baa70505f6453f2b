//! Connects to the broker and starts to consume.

use std::sync::Arc;

use amqp::{Address, Connection};
use tokio_util::sync::CancellationToken;

use super::{
    answer::answer,
    bindings::Bindings,
    exchange,
    refusal::Failure,
    subscription::{CLOSE, QueueSubscription},
    topology::Topology,
};
use crate::{
    intake::source::{Source, SourceError},
    status::Tracker,
};

/// A consumer's queue at a broker.
#[derive(Debug)]
pub(crate) struct RabbitMq {
    address: Address,
    consumer: Arc<str>,
    tracker: Arc<Tracker>,
    topology: Arc<Topology>,
    /// Largest number of unacknowledged deliveries.
    prefetch: u16,
}

impl RabbitMq {
    pub(crate) fn new(
        address: Address,
        (consumer, tracker): (Arc<str>, Arc<Tracker>),
        topology: Topology,
        prefetch: u16,
    ) -> Self {
        Self {
            address,
            consumer,
            tracker,
            topology: Arc::new(topology),
            prefetch,
        }
    }

    /// Returns the patterns of the topics that the queue is bound to.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topology.bindings.iter().map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Connects, declares the topology and begins to consume; returns `None` if `stop` is cancelled while the
    /// exchange is missing.
    async fn connect(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<QueueSubscription>, Failure> {
        let name = format!("postroom-inbox {}", self.consumer);
        let connecting = Connection::open(&self.address, &name);
        let connection = answer("connecting to the broker", connecting).await?;
        let reports = (&*self.consumer, &*self.tracker);
        let waiting = exchange::wait(&self.topology, reports, &connection, stop);
        let Some(channel) = waiting.await? else {
            connection.close(CLOSE).await;
            return Ok(None);
        };
        let limit = connection.delivery_limit();
        let subscribers = self.topology.declare(&channel, limit).await?;
        let stands_by = self.topology.single_active_consumer && subscribers > 0;
        self.tracker.found_another(stands_by);
        let limiting = channel.set_prefetch(self.prefetch);
        answer("setting the prefetch", limiting).await?;
        let consuming = channel.consume(&self.topology.queue);
        let deliveries = answer("consuming from the queue", consuming).await?;
        let bindings = Bindings {
            topology: Arc::clone(&self.topology),
            consumer: Arc::clone(&self.consumer),
            tracker: Arc::clone(&self.tracker),
        };
        Ok(Some(QueueSubscription::new(
            connection,
            channel,
            deliveries,
            bindings,
            self.prefetch,
        )))
    }
}

impl Source for RabbitMq {
    type Subscription = QueueSubscription;

    fn name(&self) -> &str {
        &self.topology.queue
    }

    async fn subscribe(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<QueueSubscription>, SourceError> {
        self.connect(stop).await.map_err(|failure| match failure {
            Failure::Refused(refused) => refused.into(),
            failure => SourceError::Lost(Box::new(failure)),
        })
    }
}
