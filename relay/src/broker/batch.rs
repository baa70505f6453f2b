//! Publishing one batch on one channel: all messages are issued, then all are confirmed, then each gets its
//! outcome.
//!
//! lapin attaches a returned message to whichever confirm completes next, so a single confirm says nothing
//! about its own message. Once *all* confirms of a batch have arrived and nothing else is in flight on the
//! channel, all returns of the batch have arrived too. Each return names its message id.

use std::{collections::HashSet, pin::Pin};

use amqp::Published;
use futures_util::FutureExt as _;
use lapin::{
    Channel, Confirmation, PublisherConfirm, options::BasicPublishOptions, types::ShortString,
};
use uuid::Uuid;

use crate::{
    capture::Position,
    message::Message,
    publish::{Batch, Outcome},
};

/// Error after which the outcome of every message of a batch is unknown.
#[derive(Debug)]
pub(super) enum Error {
    /// The connection or the channel was lost.
    Client(lapin::Error),
    /// The client's answers cannot be matched to the messages.
    Unmatched(&'static str),
}

impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        Self::Client(error)
    }
}

/// A message handed to the client.
enum Issued<F> {
    /// The client may not have written the message to the socket yet.
    Sending(Pin<Box<F>>),
    Sent(lapin::Result<PublisherConfirm>),
}

/// Publishes a batch on a channel on which nothing else is in flight, and returns each message's outcome.
///
/// # Errors
/// Fails if the outcome of the whole batch is unknown.
pub(super) async fn publish(
    channel: &Channel,
    exchange: &ShortString,
    source: &str,
    batch: &Batch<Message>,
) -> Result<Vec<(Position, Outcome)>, Error> {
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut sent = Vec::with_capacity(batch.len());
    let mut issued = Vec::with_capacity(batch.len());
    for row in batch {
        let message = &row.message;
        if message.has_expired() {
            outcomes.push((row.position, Outcome::Expired));
            continue;
        }
        match message.encode(source) {
            Ok(published) => {
                sent.push(Sent {
                    position: row.position,
                    id: message.message_id,
                    topic: &message.topic,
                });
                issued.push(issue(channel, exchange, message, published));
            }
            Err(error) => outcomes.push((row.position, Outcome::Rejected(error.to_string()))),
        }
    }
    wait_for_last_confirm(channel).await?;
    outcomes.extend(outcomes_of(&sent, &confirmed(issued).await?)?);
    Ok(outcomes)
}

/// Waits for the confirm of the last message issued, which is mostly the last confirm to arrive. Awaiting
/// each confirm, or each write, would wake the task for many of them. If the connection is lost at the
/// wrong moment, this wait may not end; the caller's deadline ends it.
#[allow(
    clippy::disallowed_methods,
    reason = "the returned messages are ignored, and every confirm is awaited afterwards"
)]
async fn wait_for_last_confirm(channel: &Channel) -> lapin::Result<()> {
    channel.wait_for_confirms().await.map(drop)
}

/// Hands a message to the client. The client holds the message when this function returns.
fn issue<'a>(
    channel: &'a Channel,
    exchange: &ShortString,
    message: &'a Message,
    published: Published,
) -> Issued<impl Future<Output = lapin::Result<PublisherConfirm>> + 'a> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let mut sending = Box::pin(channel.basic_publish(
        exchange.clone(),
        published.routing_key,
        options,
        &message.payload,
        published.properties,
    ));
    match sending.as_mut().now_or_never() {
        Some(sent) => Issued::Sent(sent),
        None => Issued::Sending(sending),
    }
}

/// Waits for all confirms.
async fn confirmed<F>(issued: Vec<Issued<F>>) -> lapin::Result<Vec<Confirmation>>
where
    F: Future<Output = lapin::Result<PublisherConfirm>>,
{
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

/// A message of the batch with the fields that identify its return. Two messages may share an id, because a
/// writer may repeat an id for another topic.
#[derive(Debug, Clone, Copy)]
struct Sent<'a> {
    position: Position,
    id: Uuid,
    topic: &'a str,
}

/// Returns the outcome of each message. A message counts as confirmed only if it was acknowledged and is
/// not among the returned messages, all of which must be known.
fn outcomes_of(
    sent: &[Sent<'_>],
    confirmations: &[Confirmation],
) -> Result<Vec<(Position, Outcome)>, Error> {
    if sent.len() != confirmations.len() {
        return Err(Error::Unmatched("not every message has a confirm"));
    }
    let mut returned = HashSet::new();
    for confirmation in confirmations {
        let message = match confirmation {
            Confirmation::Ack(message) | Confirmation::Nack(message) => message.as_ref(),
            Confirmation::NotRequested => {
                return Err(Error::Unmatched("the channel does not confirm"));
            }
        };
        // The confirm that carries a return may belong to another message.
        if let Some(message) = message {
            let id = message.delivery.properties.message_id().as_ref();
            let id = id.and_then(|id| Uuid::try_parse(id.as_str()).ok());
            let topic = message.delivery.routing_key.as_str();
            let is_returned = |sent: &&Sent<'_>| Some(sent.id) == id && sent.topic == topic;
            let found = sent.iter().find(is_returned);
            let unknown = Error::Unmatched("a message came back that was not in flight");
            let message = found.ok_or(unknown)?;
            returned.insert((message.id, message.topic));
        }
    }
    let outcome = |(sent, confirmation): (&Sent<'_>, &Confirmation)| {
        let outcome = if confirmation.is_nack() {
            Outcome::Nacked
        } else if returned.contains(&(sent.id, sent.topic)) {
            Outcome::Unroutable
        } else {
            Outcome::Confirmed
        };
        (sent.position, outcome)
    };
    Ok(sent.iter().zip(confirmations).map(outcome).collect())
}

#[cfg(test)]
mod tests {
    use lapin::Confirmation;
    use uuid::Uuid;

    use super::{Error, Sent, outcomes_of};
    use crate::publish::Outcome;

    #[test]
    fn every_message_needs_its_own_confirm() {
        let sent = [1, 2].map(|position| Sent {
            position,
            id: Uuid::now_v7(),
            topic: "t",
        });
        let outcomes = outcomes_of(&sent, &[Confirmation::Ack(None), Confirmation::Nack(None)]);
        let expected = vec![(1, Outcome::Confirmed), (2, Outcome::Nacked)];
        assert_eq!(outcomes.unwrap(), expected);
        let too_few = outcomes_of(&sent, &[Confirmation::Ack(None)]);
        assert!(matches!(too_few, Err(Error::Unmatched(_))));
        let unrequested = [Confirmation::Ack(None), Confirmation::NotRequested];
        assert!(matches!(
            outcomes_of(&sent, &unrequested),
            Err(Error::Unmatched(_))
        ));
    }
}
