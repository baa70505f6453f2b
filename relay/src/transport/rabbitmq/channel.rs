//! A channel: maps messages to AMQP, and the broker's answers to outcomes.

use std::sync::Arc;

use amqp::{Answer, BatchError, ConfirmChannel, Connection, Outgoing, Refusal};
use postroom_message::recipient;
use relay_core::publish::Outcome;

use super::{recipients::Recipients, requests::route_down};
use crate::{
    config::Amqp,
    transport::{BrokerError, Channel, Loss, Message},
};

/// Properties that all messages of a relay share: the service and the user that publish them.
#[derive(Debug)]
pub(super) struct Sender {
    /// Name of the service that writes the messages.
    source: Arc<str>,
    /// The user that publishes; `None` if messages name none.
    user_id: Option<Arc<str>>,
}

/// Channels with publisher confirms: one for the exchange of all topics, and one for messages to single consumers.
#[derive(Debug)]
pub struct RabbitMqChannel {
    channel: ConfirmChannel,
    exchange: Arc<str>,
    recipients: Recipients,
    sender: Sender,
}

impl RabbitMqChannel {
    pub(super) async fn open(
        connection: &Arc<Connection>,
        amqp: &Amqp,
        user_id: Option<&Arc<str>>,
    ) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: connection.open_confirm_channel().await?,
            exchange: amqp.exchange.as_str().into(),
            recipients: Recipients::new(Arc::clone(connection)),
            sender: Sender {
                source: amqp.source.as_str().into(),
                user_id: user_id.cloned(),
            },
        })
    }

    async fn publish_batch(&mut self, messages: &[&Message]) -> Result<Vec<Outcome>, BatchError> {
        let is_command = |message: &&&Message| recipient::is_exchange(&message.topic);
        if !messages.iter().any(|message| is_command(&message)) {
            return publish_to(&mut self.channel, &self.exchange, messages, &self.sender).await;
        }
        let (commands, events): (Vec<&Message>, Vec<&Message>) =
            messages.iter().partition(|message| is_command(message));
        let mut commands = self
            .recipients
            .publish(&commands, &self.sender)
            .await?
            .into_iter();
        let events = publish_to(&mut self.channel, &self.exchange, &events, &self.sender);
        let mut events = events.await?.into_iter();
        let outcomes = messages.iter().map(|message| {
            if is_command(&message) {
                commands.next()
            } else {
                events.next()
            }
        });
        all(outcomes)
    }

    fn loss(&self, error: BatchError) -> Loss {
        match error {
            BatchError::Unmatched(why) => Loss {
                error: BrokerError::Unmatched(why),
                blame: None,
            },
            BatchError::Lost(error) => Loss {
                blame: blame(&error),
                error: route_down(&self.exchange, error),
            },
        }
    }
}

impl Channel for RabbitMqChannel {
    async fn publish(&mut self, messages: &[&Message]) -> Result<Vec<Outcome>, Loss> {
        let published = self.publish_batch(messages).await;
        published.map_err(|error| self.loss(error))
    }

    async fn renew(&mut self) -> Result<(), BrokerError> {
        self.recipients.abandon();
        Ok(self.channel.renew().await?)
    }
}

/// Publishes messages to an exchange; returns the outcome of each, in their order.
pub(super) async fn publish_to(
    channel: &mut ConfirmChannel,
    exchange: &str,
    messages: &[&Message],
    sender: &Sender,
) -> Result<Vec<Outcome>, BatchError> {
    let mut batch = channel.batch(exchange, messages.len())?;
    let mut issued = Vec::with_capacity(messages.len());
    for message in messages {
        issued.push(batch.issue(&outgoing(message, sender), &message.payload));
    }
    let mut answers = batch.answers().await?.into_iter();
    all(issued.into_iter().map(|issued| match issued {
        Ok(()) => answers.next().map(outcome),
        Err(uncarriable) => Some(Outcome::Rejected(uncarriable.to_string())),
    }))
}

fn all(outcomes: impl Iterator<Item = Option<Outcome>>) -> Result<Vec<Outcome>, BatchError> {
    let outcomes: Option<_> = outcomes.collect();
    outcomes.ok_or(BatchError::Unmatched("not every message has an answer"))
}

const fn outcome(answer: Answer) -> Outcome {
    match answer {
        Answer::Confirmed => Outcome::Confirmed,
        Answer::Returned => Outcome::Unroutable,
        Answer::Nacked => Outcome::Nacked,
    }
}

fn outgoing<'a>(message: &'a Message, sender: &'a Sender) -> Outgoing<'a> {
    Outgoing {
        message_id: message.message_id,
        // A consumer's exchange routes by nothing: the routing key says what the message is.
        topic: if recipient::is_exchange(&message.topic) {
            &message.type_name
        } else {
            &message.topic
        },
        key: message.key.as_deref(),
        type_name: &message.type_name,
        content_type: &message.content_type,
        headers: &message.headers,
        occurred_at: message.occurred_at,
        source: &sender.source,
        user_id: sender.user_id.as_deref(),
    }
}

/// Returns the broker's error text if the broker closed the channel or connection because of a published
/// message. Returns `None` for a missing or refused exchange, for a user that the broker knows by another name, for a
/// connection closed by an operator or a shutdown, and for an internal error of the broker. A refused topic is the
/// message's: others may be allowed.
fn blame(error: &amqp::Error) -> Option<String> {
    match error.refusal()? {
        Refusal::Closed
        | Refusal::Access
        | Refusal::NotFound
        | Refusal::UserId
        | Refusal::Internal => None,
        _ => Some(error.to_string()),
    }
}
