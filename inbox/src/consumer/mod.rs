//! The consumer.

mod builder;
mod single;
mod tasks;

use std::future::Future;

pub use builder::ConsumerBuilder;

use crate::{
    ConsumerStatus, Parked, Replies, RunError, Waiter,
    intake::{RabbitMq, Stream, source::Source},
    layout::Layout,
    partitions,
};
use tasks::Tasks;

/// Receives the messages of a queue and handles each once.
///
/// Created by [`Consumer::builder`].
#[derive(Debug)]
#[must_use = "a consumer handles no messages until `run` is awaited"]
pub struct Consumer {
    tasks: Tasks,
    /// The queue that [`Consumer::run`] reads.
    queue: RabbitMq,
    /// The layout of the queues that the settings ask for.
    layout: Layout,
}

impl Consumer {
    /// Returns the builder of a consumer with this name, 1 to 255 bytes. The queue has the same name, unless
    /// [`ConsumerBuilder::queue`] sets another.
    ///
    /// Processes with the same name share the work. Do not rename a consumer: the name is part of each
    /// message's record, so under another name every message counts as new.
    pub fn builder(name: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(name.into())
    }

    /// Returns access to the deliveries that this consumer parked.
    pub fn parked(&self) -> Parked {
        let settings = &self.tasks.engine.settings;
        Parked::with_statements(
            settings.pool.clone(),
            settings.statements,
            self.tasks.engine.consumer(),
        )
    }

    /// Returns a handle on the consumer's state, which stays valid while the consumer runs and after it.
    pub fn status(&self) -> ConsumerStatus {
        ConsumerStatus::new(&self.tasks.engine.tracker)
    }

    /// Returns a waiter for this consumer, with which requests wait until their messages are handled. It may be used in
    /// any task, but not in this consumer's handlers: the message that it waits for may stand behind theirs.
    pub fn waiter(&self) -> Waiter {
        let settings = &self.tasks.engine.settings;
        let consumer = self.tasks.engine.consumer().to_owned();
        let topics = self.queue.topics().map(Into::into).collect();
        Waiter::with_statements(settings.pool.clone(), settings.statements, consumer, topics)
    }

    /// Returns access to the replies that this consumer keeps. Without
    /// [`keep_replies`](ConsumerBuilder::keep_replies) there are none, and each wait ends by time.
    pub fn replies(&self) -> Replies {
        let settings = &self.tasks.engine.settings;
        let consumer = self.tasks.engine.consumer().to_owned();
        Replies::with_statements(settings.pool.clone(), settings.statements, consumer)
    }

    /// Consumes messages until the future `shutdown` completes.
    ///
    /// The broker and the database may start before or after the consumer: it waits for them, and reconnects
    /// with growing waits.
    ///
    /// After `shutdown`, no new handler starts. Running handlers are finished and their messages acknowledged
    /// within the grace period; handlers of messages that share a transaction run one after another. A
    /// failed attempt is not repeated. The broker redelivers all other messages.
    ///
    /// # Errors
    /// Returns an error for a problem that needs a change by an operator: a schema of another release, a
    /// queue or exchange with other arguments, refused access, or a closed pool.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let (queue, layout) = (self.queue, self.layout);
        let name = queue.name().to_owned();
        // Boxed, because the future is large.
        let read = async |intake, stop: &_| {
            let reading = partitions::read(queue, layout, intake, stop);
            Box::pin(reading).await
        };
        self.tasks.run(&name, read, shutdown).await
    }

    /// As [`Consumer::run`], but consumes from another source than the queue at RabbitMQ: another transport, or
    /// a test's deliveries.
    ///
    /// # Errors
    /// As [`Consumer::run`].
    pub async fn run_over(
        self,
        source: impl Source,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let name = source.name().to_owned();
        let read = async |intake, stop: &_| {
            let read = Stream::new(source, &intake).run(stop).await;
            Ok(read?)
        };
        self.tasks.run(&name, read, shutdown).await
    }
}
