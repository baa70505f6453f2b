//! The exclusive queue that keeps others of the same outbox and lane away.

use std::{sync::Arc, time::Duration};

use amqp::Refusal;
use lapin::{
    Channel, Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    BrokerError,
    requests::{channel, delete_queue, short, take_fence},
};
use crate::events;

/// After so long without an answer nobody is behind a queue, if the broker answers other questions.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest that it takes to find out who is behind a queue.
pub(crate) const LONGEST: Duration = Duration::from_secs(3 * ANSWER_TIMEOUT.as_secs());

/// Exchange that every virtual host has.
const AN_EXCHANGE: &str = "amq.topic";

/// A question that is asked until it is answered.
///
/// Given up, it would cost the connection in the end: lapin 4.12 closes a channel that is dropped, and takes
/// the broker's late answer to it for an error of the connection.
type Question = JoinHandle<Result<Answer, BrokerError>>;

/// The broker's answer to a passive declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The queue or exchange exists; an exclusive queue of another connection is refused instead.
    Exists,
    /// The queue is another connection's, or does not exist.
    Refused,
}

/// The owner of a queue that cannot be declared.
#[derive(Debug)]
enum Owner {
    /// Another connection.
    Connection,
    /// No connection: the queue is not exclusive.
    Nobody,
    /// A connection of a node that is down; the question will be answered when the node is back.
    Lost(Question),
}

/// The fence, held or known to be held by nobody.
#[derive(Debug)]
pub(crate) struct Fence {
    connection: Arc<Connection>,
    queue: String,
    held: Option<Channel>,
    /// Asks about the queue of a node that is down.
    asking: Option<Question>,
}

impl Fence {
    /// Takes it, or finds that nobody holds it who is there.
    ///
    /// RabbitMQ deletes an exclusive queue together with its connection; but since 4.2 not while the
    /// connection's node is down, for as long as that is and however many others are up (metadata in
    /// Khepri, `rabbit_amqqueue:on_node_down`). Such a queue keeps everybody away, and protects nobody.
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

    /// Declares it again and again, and returns why that failed once. A policy may let queues expire
    /// that nobody uses, and an operator may delete it: then it is taken again, if nobody else has it.
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

    /// Gives the fence back; returns `false` if it was not held, because a node that is down left it over.
    pub(crate) async fn release(self) -> Result<bool, BrokerError> {
        let Some(channel) = self.held else {
            return Ok(false);
        };
        delete_queue(&channel, &self.queue).await?;
        Ok(true)
    }

    async fn declare(&mut self) -> Result<(), BrokerError> {
        let asking = match self.held.take() {
            Some(channel) => channel,
            None => channel(&self.connection).await?,
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

    /// Finds the owner by asking for the queue's number of messages: the broker asks the queue's process first,
    /// and for a minute if that is gone.
    async fn owner(&self) -> Result<Owner, BrokerError> {
        let about = look(Arc::clone(&self.connection), self.queue.clone());
        let mut question = tokio::spawn(about);
        if let Some(answer) = in_time(&mut question).await? {
            return Ok(answer.into());
        }
        // Or is it the broker that does not answer? Then it was asked first, and has the time that this takes.
        let mut other = tokio::spawn(look_elsewhere(Arc::clone(&self.connection)));
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

/// The answer to a question, if it comes in time.
async fn in_time(question: &mut Question) -> Result<Option<Answer>, BrokerError> {
    match timeout(ANSWER_TIMEOUT, question).await {
        Ok(Ok(answer)) => answer.map(Some),
        Ok(Err(_)) => Err(BrokerError::Task),
        Err(_) => Ok(None),
    }
}

/// Looks whether a queue is there, and waits for any answer.
async fn look(connection: Arc<Connection>, queue: String) -> Result<Answer, BrokerError> {
    let channel = channel(&connection).await?;
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let asked = channel.queue_declare(short(&queue), options, FieldTable::default());
    let answer = answer(asked.await.map(drop))?;
    drop(channel.close(200, ShortString::default()).await);
    Ok(answer)
}

/// Asks a question that any broker can answer.
async fn look_elsewhere(connection: Arc<Connection>) -> Result<Answer, BrokerError> {
    let channel = channel(&connection).await?;
    let options = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    let (exchange, kind) = (short(AN_EXCHANGE), ExchangeKind::Topic);
    let asked = channel.exchange_declare(exchange, kind, options, FieldTable::default());
    let answer = answer(asked.await)?;
    drop(channel.close(200, ShortString::default()).await);
    Ok(answer)
}

/// A refusal is an answer too.
fn answer(answer: Result<(), lapin::Error>) -> Result<Answer, BrokerError> {
    match answer {
        Err(error) if Refusal::of(&error).is_none() => Err(BrokerError::Lost(error)),
        Err(_) => Ok(Answer::Refused),
        Ok(()) => Ok(Answer::Exists),
    }
}
