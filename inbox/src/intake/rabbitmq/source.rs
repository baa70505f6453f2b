//! Connects to the broker and starts to consume.

use std::sync::Arc;

use amqp::{Address, Channel, Connection};
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
#[derive(Debug, Clone)]
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

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    pub(super) fn shared_topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology)
    }

    pub(crate) fn consumer(&self) -> &str {
        &self.consumer
    }

    /// Connects and waits for the exchange; returns the connection and a channel, or `None` if `stop` is cancelled while
    /// the exchange is missing.
    pub(super) async fn connect(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<(Connection, Channel)>, Failure> {
        let connection = self.open().await?;
        let reports = (&*self.consumer, &*self.tracker);
        let waiting = exchange::wait(&self.topology, reports, &connection, stop);
        let Some(channel) = waiting.await? else {
            connection.close(CLOSE).await;
            return Ok(None);
        };
        Ok(Some((connection, channel)))
    }

    /// Connects and consumes from a queue that exists.
    pub(super) async fn consume_existing(
        &self,
        queue: &str,
    ) -> Result<QueueSubscription, SourceError> {
        let consuming = async {
            let connection = self.open().await?;
            let channel = answer("opening a channel", connection.open_channel()).await?;
            self.consume(connection, channel, queue).await
        };
        consuming.await.map_err(SourceError::from)
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let name = format!("postroom-inbox {}", self.consumer);
        let connecting = Connection::open(&self.address, &name);
        answer("connecting to the broker", connecting).await
    }

    async fn consume(
        &self,
        connection: Connection,
        channel: Channel,
        queue: &str,
    ) -> Result<QueueSubscription, Failure> {
        let limiting = channel.set_prefetch(self.prefetch);
        answer("setting the prefetch", limiting).await?;
        let consuming = channel.consume(queue);
        let deliveries = answer("consuming from the queue", consuming).await?;
        let names = (Arc::clone(&self.topology), Arc::clone(&self.consumer));
        let channel = (channel, deliveries);
        Ok(QueueSubscription::new(
            connection,
            channel,
            names,
            self.prefetch,
        ))
    }

    /// Connects, declares the topology and begins to consume; returns `None` if `stop` is cancelled while the
    /// exchange is missing.
    async fn connect_and_consume(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<QueueSubscription>, Failure> {
        let Some((connection, channel)) = self.connect(stop).await? else {
            return Ok(None);
        };
        let limit = connection.delivery_limit();
        let subscribers = self.topology.declare(&channel, limit).await?;
        let stands_by = self.topology.single_active_consumer && subscribers > 0;
        self.tracker.found_another(stands_by);
        let queue = &self.topology.queue;
        let subscription = self.consume(connection, channel, queue).await?;
        Ok(Some(subscription.with_bindings(Bindings {
            topology: Arc::clone(&self.topology),
            consumer: Arc::clone(&self.consumer),
            tracker: Arc::clone(&self.tracker),
        })))
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
        let subscribed = self.connect_and_consume(stop).await;
        subscribed.map_err(SourceError::from)
    }
}
