//! The fence: an exclusive queue that keeps a second relay of the same outbox and lane from publishing.

use std::{sync::Arc, time::Duration};

use amqp::{Channel, Connection, Queue};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::requests::take_fence;
use crate::{events, transport::BrokerError};

/// Time without an answer after which a queue counts as one of a lost node, if the broker answers other requests.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest time that it takes to find a queue's owner.
pub(crate) const LONGEST: Duration = Duration::from_secs(3 * ANSWER_TIMEOUT.as_secs());

/// Exchange that every virtual host has.
const AN_EXCHANGE: &str = "amq.topic";

/// A request that runs in a task until the broker answers.
///
/// Cancelling the request would cost the connection: the AMQP client closes a channel that is dropped, and treats
/// the broker's late answer on it as an error of the connection.
type Question = JoinHandle<Result<Answer, BrokerError>>;

/// The broker's answer to a passive declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The queue or exchange exists; an exclusive queue of another connection is refused instead.
    Exists,
    /// The queue belongs to another connection, or does not exist.
    Refused,
}

/// The owner of a queue that cannot be declared.
#[derive(Debug)]
enum Owner {
    /// Another connection.
    Connection,
    /// No connection: the queue is not exclusive.
    Nobody,
    /// A connection of a node that is down; the broker answers the request when the node is back.
    Lost(Question),
}

/// The fence, held by this relay or known to belong to no live connection.
#[derive(Debug)]
pub(crate) struct Fence {
    connection: Arc<Connection>,
    queue: String,
    /// Channel that declared the queue; `None` if the queue belongs to a node that is down.
    held: Option<Channel>,
    /// Open request about the queue of a node that is down.
    asking: Option<Question>,
}

impl Fence {
    /// Takes the fence, or finds that it belongs to no live connection.
    ///
    /// RabbitMQ deletes an exclusive queue together with its connection. But since 4.2 it keeps the queue while the
    /// connection's node is down, even if other nodes are up (metadata in Khepri, `rabbit_amqqueue:on_node_down`).
    /// No relay can declare such a queue, and the queue protects none, so a relay goes on without it.
    pub(crate) async fn take(
        connection: &Arc<Connection>,
        queue: &str,
    ) -> Result<Self, BrokerError> {
        let mut fence = Self {
            connection: Arc::clone(connection),
            queue: queue.to_owned(),
            held: None,
            asking: None,
        };
        fence.declare().await?;
        if fence.held.is_none() {
            events::FenceLeftOver { queue }.emit();
        }
        Ok(fence)
    }

    /// Declares the queue at intervals until a declaration fails; returns the error. A policy may expire unused
    /// queues, and an operator may delete the queue: then this relay takes it again, unless another one has.
    pub(super) async fn keep(mut self, every: Duration) -> BrokerError {
        loop {
            match self.asking.take() {
                // The node is back, or a minute has passed.
                Some(question) => {
                    drop(question.await);
                    events::FenceTried.emit();
                }
                None => sleep(every).await,
            }
            if let Err(error) = self.declare().await {
                return error;
            }
        }
    }

    /// Releases the fence; returns `false` if it was not held, because it belongs to a node that is down.
    pub(crate) async fn release(self) -> Result<bool, BrokerError> {
        let Some(channel) = self.held else {
            return Ok(false);
        };
        channel.delete_queue(&self.queue).await?;
        Ok(true)
    }

    async fn declare(&mut self) -> Result<(), BrokerError> {
        let asking = match self.held.take() {
            Some(channel) => channel,
            None => self.connection.open_channel().await?,
        };
        match take_fence(&asking, &self.queue).await {
            Ok(()) => self.held = Some(asking),
            Err(error @ BrokerError::Fenced { .. }) => match self.owner().await? {
                Owner::Lost(question) => self.asking = Some(question),
                Owner::Connection => return Err(error),
                Owner::Nobody => {
                    let queue = self.queue.clone();
                    return Err(BrokerError::NotExclusive { queue });
                }
            },
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Finds the owner by asking for the queue's number of messages: the broker asks the queue's process first, and
    /// retries for a minute if the process is gone.
    async fn owner(&self) -> Result<Owner, BrokerError> {
        let about = ask_for_queue(Arc::clone(&self.connection), self.queue.clone());
        let mut question = tokio::spawn(about);
        if let Some(answer) = in_time(&mut question).await? {
            return Ok(answer.into());
        }
        // Rules out that the whole broker is slow. The first request stays open, with this much more time.
        let mut other = tokio::spawn(ask_for_exchange(Arc::clone(&self.connection)));
        if in_time(&mut other).await?.is_none() {
            return Ok(Owner::Connection);
        }
        let answer = in_time(&mut question).await?;
        Ok(answer.map_or(Owner::Lost(question), Owner::from))
    }
}

impl From<Answer> for Owner {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Exists => Self::Nobody,
            Answer::Refused => Self::Connection,
        }
    }
}

/// Returns the answer to a request; `None` if it does not arrive within [`ANSWER_TIMEOUT`].
async fn in_time(question: &mut Question) -> Result<Option<Answer>, BrokerError> {
    match timeout(ANSWER_TIMEOUT, question).await {
        Ok(Ok(answer)) => answer.map(Some),
        Ok(Err(_)) => Err(BrokerError::Task),
        Err(_) => Ok(None),
    }
}

/// Asks whether a queue exists, and waits for the answer without a time limit.
async fn ask_for_queue(connection: Arc<Connection>, queue: String) -> Result<Answer, BrokerError> {
    let channel = connection.open_channel().await?;
    answer(
        channel
            .declare_queue(&queue, Queue::Existing)
            .await
            .map(drop),
    )
}

/// Asks for an exchange that every virtual host has, which any working broker answers.
async fn ask_for_exchange(connection: Arc<Connection>) -> Result<Answer, BrokerError> {
    let channel = connection.open_channel().await?;
    answer(channel.declare_exchange(AN_EXCHANGE, true).await)
}

/// Converts the result of a request; a refusal is an answer too.
fn answer(answer: Result<(), amqp::Error>) -> Result<Answer, BrokerError> {
    match answer {
        Err(error) if error.refusal().is_none() => Err(error.into()),
        Err(_) => Ok(Answer::Refused),
        Ok(()) => Ok(Answer::Exists),
    }
}
