//! One batch on one channel: issued together, confirmed together, judged together.
//!
//! lapin hands a returned message to whichever confirm completes next, so a single confirm says
//! nothing about its own message. Once *all* confirms of a batch are in and nothing else is in
//! flight on the channel, all its returns are in too, and each names its message id.

use std::{collections::HashSet, pin::Pin};

use futures_util::{
    FutureExt as _,
    future::{MaybeDone, maybe_done},
};
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

/// A message that the client has been given.
type Issued<F> = Pin<Box<MaybeDone<F>>>;

/// Publishes a batch on a channel on which nothing else is in flight, and waits for what became of
/// each message.
///
/// # Errors
/// The connection or the channel is gone, and nothing is known of any of them.
pub(super) async fn publish(
    channel: &Channel,
    exchange: &ShortString,
    source: &str,
    batch: &Batch<Message>,
) -> Result<Vec<(Position, Outcome)>, lapin::Error> {
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut sent = Vec::with_capacity(batch.len());
    let mut issued = Vec::with_capacity(batch.len());
    for (position, message) in batch {
        match message.encode(source) {
            Ok(published) => {
                sent.push((*position, message.message_id));
                issued.push(issue(channel, exchange, message, published));
            }
            Err(error) => outcomes.push((*position, Outcome::Rejected(error.to_string()))),
        }
    }
    outcomes.extend(judge(&sent, &confirmed(issued).await?));
    Ok(outcomes)
}

/// Hands a message to the client, which has it before this returns.
///
/// Whoever awaits the messages of a batch one after another wakes, and writes to the socket, once for
/// many of them.
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
    let mut issued = Box::pin(maybe_done(channel.basic_publish(
        exchange.clone(),
        published.routing_key,
        options,
        &message.payload,
        published.properties,
    )));
    let _ = issued.as_mut().now_or_never();
    issued
}

/// Waits for all confirms, in order: most have come when the first has.
async fn confirmed<F>(issued: Vec<Issued<F>>) -> lapin::Result<Vec<Confirmation>>
where
    F: Future<Output = lapin::Result<PublisherConfirm>>,
{
    let mut confirms = Vec::with_capacity(issued.len());
    for mut issued in issued {
        issued.as_mut().await;
        confirms.extend(issued.as_mut().take_output().transpose()?);
    }
    let mut confirmations = Vec::with_capacity(confirms.len());
    for confirm in confirms {
        confirmations.push(confirm.await?);
    }
    Ok(confirmations)
}

fn judge(
    sent: &[(Position, Uuid)],
    confirmations: &[Confirmation],
) -> impl Iterator<Item = (Position, Outcome)> {
    let returned: HashSet<Uuid> = confirmations.iter().filter_map(returned).collect();
    sent.iter()
        .zip(confirmations)
        .map(move |((position, id), confirmation)| {
            let outcome = if confirmation.is_nack() {
                Outcome::Nacked
            } else if returned.contains(id) {
                Outcome::Unroutable
            } else {
                Outcome::Confirmed
            };
            (*position, outcome)
        })
}

/// The id of the returned message that came with a confirm, whosever that is.
fn returned(confirmation: &Confirmation) -> Option<Uuid> {
    let (Confirmation::Ack(message) | Confirmation::Nack(message)) = confirmation else {
        return None;
    };
    let id = message
        .as_ref()?
        .delivery
        .properties
        .message_id()
        .as_ref()?;
    Uuid::try_parse(id.as_str()).ok()
}
