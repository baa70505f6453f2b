//! The exchanges and queues of a layout at the broker, and their changes.
//!
//! The plain layout is the consumer's queue, bound to the topic exchange. With partitions, a headers exchange stands
//! between the topic exchange and the queues: it hands each message to the queue of the message's slot. Messages without
//! a slot go on to its alternate exchange, to which the first partition's queue is bound.

use std::sync::Arc;

use amqp::{Channel, Connection, QueueCounts};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    answer::answer, refusal::Failure, source::RabbitMq, subscription::CLOSE, topology::Topology,
};
use crate::{
    intake::source::SourceError,
    layout::{Layout, Partition},
};

impl Topology {
    /// Returns the name of a partition's queue.
    pub(crate) fn queue_of(&self, partition: Partition) -> String {
        if partition.layout().is_plain() {
            return self.queue.clone();
        }
        let (partitions, number) = (partition.layout().number(), partition.number());
        format!("{}.{partitions}.{number}", self.queue)
    }

    /// Returns the name of the exchange that hands messages to the queues of a layout. For the plain layout, only markers
    /// go through it.
    fn slots_exchange(&self, layout: Layout) -> String {
        slots_exchange(&self.queue, layout)
    }

    /// Binds the queues of a layout, which must exist, to the topics of the consumer.
    pub(super) async fn bind_topics(
        &self,
        channel: &Channel,
        layout: Layout,
    ) -> Result<(), Failure> {
        for pattern in &self.bindings {
            self.bind_to(channel, layout, &self.exchange, pattern)
                .await?;
        }
        if let Some(own) = &self.own_exchange {
            let declare = channel.declare_exchange(own, false);
            answer("declaring the consumer's own exchange", declare).await?;
            self.bind_to(channel, layout, own, "#").await?;
        }
        Ok(())
    }

    /// Removes the bindings of [`bind_topics`](Self::bind_topics).
    async fn unbind_topics(&self, channel: &Channel, layout: Layout) -> Result<(), Failure> {
        let topics = self.bindings.iter();
        let topics = topics.map(|pattern| (&self.exchange, pattern.as_str()));
        let own = self.own_exchange.iter().map(|own| (own, "#"));
        for (source, pattern) in topics.chain(own) {
            self.unbind_from(channel, layout, source, pattern).await?;
        }
        Ok(())
    }

    /// Binds the queues of a layout to the topics of an exchange that match a pattern.
    async fn bind_to(
        &self,
        channel: &Channel,
        layout: Layout,
        source: &str,
        pattern: &str,
    ) -> Result<(), Failure> {
        let doing = "binding the queue to the exchange";
        if layout.is_plain() {
            return answer(doing, channel.bind(&self.queue, source, pattern)).await;
        }
        let exchange = self.slots_exchange(layout);
        answer(doing, channel.bind_exchange(&exchange, source, pattern)).await
    }

    /// Removes the bindings of [`bind_to`](Self::bind_to).
    async fn unbind_from(
        &self,
        channel: &Channel,
        layout: Layout,
        source: &str,
        pattern: &str,
    ) -> Result<(), Failure> {
        let doing = "unbinding the queue from the exchange";
        if layout.is_plain() {
            return answer(doing, channel.unbind(&self.queue, source, pattern)).await;
        }
        let exchange = self.slots_exchange(layout);
        answer(doing, channel.unbind_exchange(&exchange, source, pattern)).await
    }
}

fn slots_exchange(queue: &str, layout: Layout) -> String {
    format!("postroom.slots.{queue}.{}", layout.number())
}

/// Returns the name of the exchange for messages without a slot.
fn rest_exchange(slots_exchange: &str) -> String {
    format!("{slots_exchange}.rest")
}

/// Returns the longest name that a layout of a queue needs.
pub(crate) fn longest_name(queue: &str) -> String {
    let layout = Layout::partitioned(64).unwrap_or(Layout::PLAIN);
    rest_exchange(&slots_exchange(queue, layout))
}

/// A connection that declares, changes and deletes the layouts of a consumer.
#[derive(Debug)]
pub(crate) struct Layouts {
    topology: Arc<Topology>,
    connection: Connection,
    channel: Channel,
}

impl Layouts {
    /// Connects; returns `None` if `stop` is cancelled while the topic exchange is missing.
    pub(crate) async fn connect(
        broker: &RabbitMq,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, SourceError> {
        let connected = broker.connect(stop).await?;
        Ok(connected.map(|(connection, channel)| Self {
            topology: broker.shared_topology(),
            connection,
            channel,
        }))
    }

    /// Declares the queues and exchanges of a layout, and binds them to the consumer's topics.
    pub(crate) async fn declare(&self, layout: Layout) -> Result<(), SourceError> {
        let (topology, channel) = (&self.topology, &self.channel);
        topology.declare_exchange(channel).await?;
        self.declare_queues(layout).await?;
        Ok(topology.bind_topics(channel, layout).await?)
    }

    /// Declares the queues of a layout, and the exchange that divides messages among them.
    pub(crate) async fn declare_queues(&self, layout: Layout) -> Result<(), SourceError> {
        let (topology, channel) = (&self.topology, &self.channel);
        let limit = self.connection.delivery_limit();
        for partition in layout.partitions() {
            let queue = topology.queue_of(partition);
            topology.declare_queue(channel, &queue, limit).await?;
        }
        if !layout.is_plain() {
            self.declare_slots(layout).await?;
        }
        Ok(())
    }

    async fn declare_slots(&self, layout: Layout) -> Result<(), Failure> {
        let channel = &self.channel;
        let slots = self.topology.slots_exchange(layout);
        let rest = rest_exchange(&slots);
        let doing = "declaring an exchange for partitions";
        answer(doing, channel.declare_fanout_exchange(&rest)).await?;
        answer(doing, channel.declare_slots_exchange(&slots, &rest)).await?;
        let doing = "binding a partition's queue";
        for partition in layout.partitions() {
            let queue = self.topology.queue_of(partition);
            if partition.number() == 0 {
                answer(doing, channel.bind(&queue, &rest, "")).await?;
            }
            for slot in partition.slots() {
                answer(doing, channel.bind_slot(&queue, &slots, slot)).await?;
            }
        }
        Ok(())
    }

    /// Removes the bindings of a layout to the consumer's topics: its queues receive no more messages.
    pub(crate) async fn unbind(&self, layout: Layout) -> Result<(), SourceError> {
        Ok(self.topology.unbind_topics(&self.channel, layout).await?)
    }

    /// Returns the counts of a partition's queue; `None` if there is no such queue.
    pub(crate) async fn counts(
        &self,
        partition: Partition,
    ) -> Result<Option<QueueCounts>, SourceError> {
        let queue = self.topology.queue_of(partition);
        // The broker closes the channel if there is no such queue.
        let looking = async { self.connection.open_channel().await?.counts(&queue).await };
        match answer("looking at a partition's queue", looking).await {
            Ok(counts) => Ok(Some(counts)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Publishes a marker into a partition's queue.
    pub(crate) async fn mark(&self, partition: Partition, token: Uuid) -> Result<(), SourceError> {
        let layout = partition.layout();
        let exchange = self.topology.slots_exchange(layout);
        if layout.is_plain() {
            let declaring = self.channel.declare_fanout_exchange(&exchange);
            answer("declaring an exchange for a marker", declaring).await?;
            let queue = self.topology.queue_of(partition);
            let binding = self.channel.bind(&queue, &exchange, "");
            answer("binding the queue to a marker's exchange", binding).await?;
        }
        let Some(slot) = partition.slots().next() else {
            return Ok(());
        };
        let publishing = self.connection.publish_marker(&exchange, slot, token);
        if answer("publishing a marker", publishing).await? {
            return Ok(());
        }
        let problem = format!(
            "no queue is bound to slot {} of {exchange:?}",
            slot.number()
        );
        Err(SourceError::Lost(problem.into()))
    }

    /// Deletes the queue of a partition.
    pub(crate) async fn delete_queue(&self, partition: Partition) -> Result<(), SourceError> {
        let queue = self.topology.queue_of(partition);
        let deleting = self.channel.delete_queue(&queue);
        Ok(answer("deleting a partition's queue", deleting).await?)
    }

    /// Deletes the exchanges of a layout.
    pub(crate) async fn delete_exchanges(&self, layout: Layout) -> Result<(), SourceError> {
        let slots = self.topology.slots_exchange(layout);
        let doing = "deleting a layout's exchange";
        answer(doing, self.channel.delete_exchange(&slots)).await?;
        if !layout.is_plain() {
            let rest = rest_exchange(&slots);
            answer(doing, self.channel.delete_exchange(&rest)).await?;
        }
        Ok(())
    }

    pub(crate) async fn close(self) {
        self.connection.close(CLOSE).await;
    }
}
