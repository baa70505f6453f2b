//! A channel: maps messages to AMQP, and the broker's answers to outcomes.

use std::sync::Arc;

use amqp::{Answer, BatchError, ConfirmChannel, Connection, Outgoing, Refusal};
use relay_core::publish::Outcome;

use super::requests::route_down;
use crate::{
    config::Amqp,
    transport::{BrokerError, Channel, Loss, Message},
};

/// A channel with publisher confirms.
#[derive(Debug)]
pub struct RabbitMqChannel {
    channel: ConfirmChannel,
    exchange: Arc<str>,
    /// Name of the service that writes the messages.
    source: Arc<str>,
    /// The user that publishes; `None` if messages name none.
    user_id: Option<Arc<str>>,
}

impl RabbitMqChannel {
    pub(super) async fn open(
        connection: &Connection,
        amqp: &Amqp,
        user_id: Option<&Arc<str>>,
    ) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: connection.open_confirm_channel().await?,
            exchange: amqp.exchange.as_str().into(),
            source: amqp.source.as_str().into(),
            user_id: user_id.cloned(),
        })
    }

    async fn publish_batch(&mut self, messages: &[&Message]) -> Result<Vec<Outcome>, BatchError> {
        let mut batch = self.channel.batch(&self.exchange, messages.len())?;
        let mut issued = Vec::with_capacity(messages.len());
        for message in messages {
            let outgoing = outgoing(message, &self.source, self.user_id.as_deref());
            issued.push(batch.issue(&outgoing, &message.payload));
        }
        let mut answers = batch.answers().await?.into_iter();
        let outcomes = issued.into_iter().map(|issued| match issued {
            Ok(()) => answers.next().map(outcome),
            Err(uncarriable) => Some(Outcome::Rejected(uncarriable.to_string())),
        });
        let outcomes: Option<_> = outcomes.collect();
        outcomes.ok_or(BatchError::Unmatched("not every message has an answer"))
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
        Ok(self.channel.renew().await?)
    }
}

const fn outcome(answer: Answer) -> Outcome {
    match answer {
        Answer::Confirmed => Outcome::Confirmed,
        Answer::Returned => Outcome::Unroutable,
        Answer::Nacked => Outcome::Nacked,
    }
}

fn outgoing<'a>(message: &'a Message, source: &'a str, user_id: Option<&'a str>) -> Outgoing<'a> {
    Outgoing {
        message_id: message.message_id,
        topic: &message.topic,
        key: message.key.as_deref(),
        type_name: &message.type_name,
        content_type: &message.content_type,
        headers: &message.headers,
        occurred_at: message.occurred_at,
        source,
        user_id,
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
