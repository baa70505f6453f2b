//! One batch on one channel: issued together, confirmed together, judged together.
//!
//! lapin hands a returned message to whichever confirm completes next, so a single confirm says
//! nothing about its own message. Once *all* confirms of a batch are in and nothing else is in
//! flight on the channel, all its returns are in too, and each names its message id.

use std::{collections::HashSet, pin::Pin};

use futures_util::FutureExt as _;
use lapin::{
    Channel, Confirmation, PublisherConfirm, options::BasicPublishOptions, types::ShortString,
};
use outbox::wire::Published;
use uuid::Uuid;

use crate::{
    capture::Position,
    message::Message,
    publish::{Batch, Outcome},
};

/// Why nothing is known of a batch.
#[derive(Debug)]
pub(super) enum Error {
    /// The connection or the channel is gone.
    Client(lapin::Error),
    /// The client does not say what became of each message.
    Unmatched(&'static str),
}

impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        Self::Client(error)
    }
}

/// A message that the client has been given.
enum Issued<F> {
    /// It may not be written to the socket yet.
    Sending(Pin<Box<F>>),
    Sent(lapin::Result<PublisherConfirm>),
}

/// Publishes a batch on a channel on which nothing else is in flight, and waits for what became of
/// each message.
///
/// # Errors
/// Nothing is known of any of them.
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
    mostly_confirmed(channel).await?;
    outcomes.extend(judge(&sent, &confirmed(issued).await?)?);
    Ok(outcomes)
}

/// Waits for the confirm of the last message that the client has, which is mostly the last one to come:
/// whoever awaits each, or the writing of each, is woken for many of them. A connection that is lost in
/// the wrong moment may leave this waiting; the caller's deadline ends it.
#[allow(
    clippy::disallowed_methods,
    reason = "what it returns is not looked at, and every confirm is awaited after it"
)]
async fn mostly_confirmed(channel: &Channel) -> lapin::Result<()> {
    channel.wait_for_confirms().await.map(drop)
}

/// Hands a message to the client, which has it before this returns.
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

/// A message of the batch, and by what it is known when it comes back. Two may share an id: somebody may
/// write a message again for another topic.
#[derive(Debug, Clone, Copy)]
struct Sent<'a> {
    position: Position,
    id: Uuid,
    topic: &'a str,
}

/// What became of each message. Nothing is taken for delivered but an acknowledged message that is not
/// among the returned ones, all of which are known.
fn judge(
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
        // With whichever confirm it came.
        if let Some(message) = message {
            let id = message.delivery.properties.message_id().as_ref();
            let id = id.and_then(|id| Uuid::try_parse(id.as_str()).ok());
            let topic = message.delivery.routing_key.as_str();
            let is_it = |sent: &&Sent<'_>| Some(sent.id) == id && sent.topic == topic;
            let ours = sent.iter().find(is_it);
            let stranger = Error::Unmatched("a message came back that was not in flight");
            let ours = ours.ok_or(stranger)?;
            returned.insert((ours.id, ours.topic));
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

    use super::{Error, Sent, judge};
    use crate::publish::Outcome;

    #[test]
    fn each_message_needs_a_confirm_of_its_own() {
        let sent = [1, 2].map(|position| Sent {
            position,
            id: Uuid::now_v7(),
            topic: "t",
        });
        let judged = judge(&sent, &[Confirmation::Ack(None), Confirmation::Nack(None)]);
        let expected = vec![(1, Outcome::Confirmed), (2, Outcome::Nacked)];
        assert_eq!(judged.unwrap(), expected);
        let too_few = judge(&sent, &[Confirmation::Ack(None)]);
        assert!(matches!(too_few, Err(Error::Unmatched(_))));
        let unasked = [Confirmation::Ack(None), Confirmation::NotRequested];
        assert!(matches!(judge(&sent, &unasked), Err(Error::Unmatched(_))));
    }
}
