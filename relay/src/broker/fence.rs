//! The exclusive queue that keeps others of the same outbox and lane away.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, Connection, options::QueueDeclareOptions, types::FieldTable};
use tokio::time::{sleep, timeout};

use super::{
    BrokerError,
    error::reply_code,
    requests::{channel, short, take_fence},
};
use crate::events;

/// Pause before a fence that nobody can hold is tried again: each time costs the broker a process that waits
/// for a minute.
const ORPHANED_PAUSE: Duration = Duration::from_secs(15);

/// Name that no queue has.
const NO_QUEUE: &str = "postroom.fence.none";

/// The fence, held or known to be held by nobody.
#[derive(Debug)]
pub(super) struct Fence {
    connection: Arc<Connection>,
    queue: String,
    /// After so long without an answer nobody is behind a queue, if the broker answers other questions.
    patience: Duration,
    held: Option<Channel>,
}

impl Fence {
    /// Takes it, or finds that nobody holds it who is there.
    ///
    /// RabbitMQ deletes an exclusive queue together with its connection; but since 4.2 not while the
    /// connection's node is down, for as long as that is and however many others are up (metadata in
    /// Khepri, `rabbit_amqqueue:on_node_down`). Such a queue keeps everybody away, and protects nobody.
    pub(super) async fn take(
        connection: &Arc<Connection>,
        queue: &str,
        patience: Duration,
    ) -> Result<Self, BrokerError> {
        let mut fence = Self {
            connection: Arc::clone(connection),
            queue: queue.to_owned(),
            patience,
            held: None,
        };
        fence.declare().await?;
        Ok(fence)
    }

    /// Declares it again and again, and returns why that failed once. A policy may let queues expire
    /// that nobody uses, and an operator may delete it: then it is taken again, if nobody else has it.
    pub(super) async fn keep(mut self, every: Duration) -> BrokerError {
        loop {
            let pause = self.held.as_ref().map_or(ORPHANED_PAUSE, |_| every);
            sleep(pause).await;
            if let Err(error) = self.declare().await {
                return error;
            }
        }
    }

    async fn declare(&mut self) -> Result<(), BrokerError> {
        let asking = match self.held.take() {
            Some(channel) => channel,
            None => channel(&self.connection).await?,
        };
        match take_fence(&asking, &self.queue).await {
            Ok(()) => self.held = Some(asking),
            Err(BrokerError::Fenced { .. }) if self.is_orphaned().await? => {
                let queue = &self.queue;
                events::FenceOrphaned { queue }.emit();
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether the queue is one of a node that is down. Asked how many messages it has, the broker says that
    /// it is another connection's as soon as the queue has told; it waits for a minute where none can.
    async fn is_orphaned(&self) -> Result<bool, BrokerError> {
        if self.is_answered(&self.queue).await? {
            return Ok(false);
        }
        // Or is it the broker that does not answer?
        self.is_answered(NO_QUEUE).await
    }

    /// Whether the broker tells in time if a queue is there.
    async fn is_answered(&self, queue: &str) -> Result<bool, BrokerError> {
        match timeout(self.patience, self.look(queue)).await {
            Ok(answer) => answer.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Looks whether a queue is there, and waits for any answer.
    async fn look(&self, queue: &str) -> Result<(), BrokerError> {
        let asking = channel(&self.connection).await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let asked = asking.queue_declare(short(queue), options, FieldTable::default());
        match asked.await {
            Err(error) if reply_code(&error).is_none() => Err(BrokerError::Lost(error)),
            _ => Ok(()),
        }
    }
}
