//! Publishing one batch on one channel.

use amqp::{Answer, BatchError, ConfirmChannel};

use crate::{
    capture::Position,
    message::Message,
    publish::{Batch, Outcome},
};

/// Publishes a batch on a channel on which nothing else is in flight, and returns each message's outcome.
///
/// # Errors
/// Fails if the outcome of the whole batch is unknown.
pub(super) async fn publish(
    channel: &mut ConfirmChannel,
    exchange: &str,
    source: &str,
    rows: &Batch<Message>,
) -> Result<Vec<(Position, Outcome)>, BatchError> {
    let mut outcomes = Vec::with_capacity(rows.len());
    let mut sent = Vec::with_capacity(rows.len());
    let mut batch = channel.batch(exchange, rows.len())?;
    for row in rows {
        let message = &row.message;
        if message.has_expired() {
            outcomes.push((row.position, Outcome::Expired));
            continue;
        }
        match message.issue(source, &mut batch) {
            Ok(()) => sent.push(row.position),
            Err(error) => outcomes.push((row.position, Outcome::Rejected(error.to_string()))),
        }
    }
    let answers = batch.answers().await?.into_iter();
    let answers = answers.map(|answer| match answer {
        Answer::Confirmed => Outcome::Confirmed,
        Answer::Returned => Outcome::Unroutable,
        Answer::Nacked => Outcome::Nacked,
    });
    outcomes.extend(sent.into_iter().zip(answers));
    Ok(outcomes)
}
