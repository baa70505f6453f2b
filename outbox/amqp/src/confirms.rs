//! A channel with publisher confirms, which publishes one batch at a time: all messages of a batch are issued, then
//! all are confirmed, then each gets its answer.
//!
//! lapin attaches a returned message to whichever confirm completes next, so a single confirm says nothing
//! about its own message. Once *all* confirms of a batch have arrived and nothing else is in flight on the
//! channel, all returns of the batch have arrived too. Each return names its message id.

use std::{
    collections::HashSet,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use lapin::{
    Confirmation, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{Channel, Error, Outgoing, Uncarriable, channel::short, encode};

/// Longest wait for the broker to confirm the closing of a channel.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The broker's answer to a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// At least one queue has taken the message.
    Confirmed,
    /// No queue is bound to the message's topic.
    Returned,
    /// A queue refused the message, or could not take it.
    Nacked,
}

/// Error after which the answer to every message of a batch is unknown.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The connection or the channel was lost.
    #[error(transparent)]
    Lost(#[from] Error),
    /// The client's answers cannot be matched to the messages.
    #[error("the answers do not match the messages: {0}")]
    Unmatched(&'static str),
}

/// A channel with publisher confirms, which can be replaced by a new one.
#[derive(Debug)]
pub struct ConfirmChannel {
    connection: Arc<lapin::Connection>,
    channel: Channel,
}

impl ConfirmChannel {
    pub(crate) async fn open(connection: Arc<lapin::Connection>) -> Result<Self, Error> {
        let channel = Channel::new(connection.create_channel().await?);
        channel
            .client()
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            connection,
            channel,
        })
    }

    /// Begins a batch of up to `size` messages. The batch borrows the channel, on which nothing else may be in flight;
    /// after a batch that was dropped without all of its answers, the channel must be renewed.
    ///
    /// # Errors
    /// Fails if the exchange's name is too long.
    pub fn batch<'a>(&'a mut self, exchange: &str, size: usize) -> Result<Batch<'a>, Error> {
        Ok(Batch {
            channel: self.channel.client(),
            exchange: short(exchange)?,
            sent: Vec::with_capacity(size),
            issued: Vec::with_capacity(size),
        })
    }

    /// Replaces the channel by a new one and closes the old one. Messages in flight on the old channel are abandoned.
    ///
    /// # Errors
    /// Fails if the connection is lost.
    pub async fn renew(&mut self) -> Result<(), Error> {
        let fresh = Self::open(Arc::clone(&self.connection)).await?;
        let old = std::mem::replace(self, fresh);
        drop(timeout(CLOSE_TIMEOUT, old.channel.close()).await);
        Ok(())
    }
}

/// Messages in flight on a channel.
pub struct Batch<'a> {
    channel: &'a lapin::Channel,
    exchange: ShortString,
    sent: Vec<Sent<'a>>,
    issued: Vec<Issued<'a>>,
}

/// A message of the batch with the fields that identify its return. Two messages may share an id, because a
/// writer may repeat an id for another topic.
#[derive(Debug, Clone, Copy)]
struct Sent<'a> {
    id: Uuid,
    topic: &'a str,
}

/// A message handed to the client.
enum Issued<'a> {
    /// The client may not have written the message to the socket yet.
    Sending(Pin<Box<dyn Future<Output = lapin::Result<PublisherConfirm>> + Send + 'a>>),
    Sent(lapin::Result<PublisherConfirm>),
}

impl<'a> Batch<'a> {
    /// Hands a message to the client. The client holds the message when this function returns.
    ///
    /// # Errors
    /// Returns the reason if the broker can never carry the message; the other messages of the batch are not affected.
    pub fn issue(&mut self, message: &Outgoing<'a>, payload: &'a [u8]) -> Result<(), Uncarriable> {
        let published = encode(message)?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let mut sending = Box::pin(self.channel.basic_publish(
            self.exchange.clone(),
            published.routing_key,
            options,
            payload,
            published.properties,
        ));
        let polled = sending
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        self.issued.push(match polled {
            Poll::Ready(sent) => Issued::Sent(sent),
            Poll::Pending => Issued::Sending(sending),
        });
        self.sent.push(Sent {
            id: message.message_id,
            topic: message.topic,
        });
        Ok(())
    }

    /// Waits for all confirms; returns the answer to each message, in the order in which they were issued.
    ///
    /// # Errors
    /// Fails if the answers to the whole batch are unknown.
    pub async fn answers(self) -> Result<Vec<Answer>, BatchError> {
        wait_for_last_confirm(self.channel).await?;
        answers_of(&self.sent, &confirmed(self.issued).await?)
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Batch").field(&self.sent).finish()
    }
}

/// Waits for the confirm of the last message issued, which is mostly the last confirm to arrive. Awaiting
/// each confirm, or each write, would wake the task for many of them. If the connection is lost at the
/// wrong moment, this wait may not end; the caller's deadline ends it.
#[allow(
    clippy::disallowed_methods,
    reason = "the returned messages are ignored, and every confirm is awaited afterwards"
)]
async fn wait_for_last_confirm(channel: &lapin::Channel) -> Result<(), Error> {
    channel.wait_for_confirms().await?;
    Ok(())
}

/// Waits for all confirms.
async fn confirmed(issued: Vec<Issued<'_>>) -> Result<Vec<Confirmation>, Error> {
    let mut confirms = Vec::with_capacity(issued.len());
    for issued in issued {
        confirms.push(match issued {
            Issued::Sending(sending) => sending.await?,
            Issued::Sent(sent) => sent?,
        });
    }
    let mut confirmations = Vec::with_capacity(confirms.len());
    for confirm in confirms {
        confirmations.push(confirm.await?);
    }
    Ok(confirmations)
}

/// Returns the answer to each message. A message counts as confirmed only if it was acknowledged and is
/// not among the returned messages, all of which must be known.
fn answers_of(
    sent: &[Sent<'_>],
    confirmations: &[Confirmation],
) -> Result<Vec<Answer>, BatchError> {
    if sent.len() != confirmations.len() {
        return Err(BatchError::Unmatched("not every message has a confirm"));
    }
    let mut returned = HashSet::new();
    for confirmation in confirmations {
        let message = match confirmation {
            Confirmation::Ack(message) | Confirmation::Nack(message) => message.as_ref(),
            Confirmation::NotRequested => {
                return Err(BatchError::Unmatched("the channel does not confirm"));
            }
        };
        // The confirm that carries a return may belong to another message.
        if let Some(message) = message {
            let id = message.delivery.properties.message_id().as_ref();
            let id = id.and_then(|id| Uuid::try_parse(id.as_str()).ok());
            let topic = message.delivery.routing_key.as_str();
            let is_returned = |sent: &&Sent<'_>| Some(sent.id) == id && sent.topic == topic;
            let found = sent.iter().find(is_returned);
            let unknown = BatchError::Unmatched("a message came back that was not in flight");
            let message = found.ok_or(unknown)?;
            returned.insert((message.id, message.topic));
        }
    }
    let answer = |(sent, confirmation): (&Sent<'_>, &Confirmation)| {
        if confirmation.is_nack() {
            Answer::Nacked
        } else if returned.contains(&(sent.id, sent.topic)) {
            Answer::Returned
        } else {
            Answer::Confirmed
        }
    };
    Ok(sent.iter().zip(confirmations).map(answer).collect())
}

#[cfg(test)]
mod tests {
    use lapin::Confirmation;
    use uuid::Uuid;

    use super::{Answer, BatchError, Sent, answers_of};

    #[test]
    fn every_message_needs_its_own_confirm() {
        let sent = [1, 2].map(|_| Sent {
            id: Uuid::now_v7(),
            topic: "t",
        });
        let answers = answers_of(&sent, &[Confirmation::Ack(None), Confirmation::Nack(None)]);
        assert_eq!(answers.unwrap(), [Answer::Confirmed, Answer::Nacked]);
        let too_few = answers_of(&sent, &[Confirmation::Ack(None)]);
        assert!(matches!(too_few, Err(BatchError::Unmatched(_))));
        let unrequested = [Confirmation::Ack(None), Confirmation::NotRequested];
        assert!(matches!(
            answers_of(&sent, &unrequested),
            Err(BatchError::Unmatched(_))
        ));
    }
}
