//! The task that owns one channel, and has one batch in flight at a time: what `batch` finds out
//! rests on that. Several channels keep the broker busy.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use lapin::types::ShortString;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{BrokerError, Event, batch, channel::Confirming, error::reply_code};
use crate::{
    capture::Position,
    events,
    message::Message,
    publish::{Batch, Outcome},
};

/// A queue that is really full refuses for long; opening channels more often would only cost.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// A batch to publish.
#[derive(Debug)]
pub(crate) struct BatchRequest {
    pub(crate) batch: Batch<Message>,
    /// Whether its topic is in doubt, and has it for itself.
    pub(crate) apart: bool,
}

impl BatchRequest {
    /// How long its oldest message that a queue took might have been there, by this machine's clock: for
    /// the metric only.
    fn delay(&self, outcomes: &[(Position, Outcome)]) -> Option<Duration> {
        let others = outcomes.iter();
        let others = others.filter(|(_, outcome)| *outcome != Outcome::Confirmed);
        let others: HashSet<Position> = others.map(|(position, _)| *position).collect();
        let taken = self.batch.iter();
        let taken = taken.filter(|row| !others.contains(&row.position));
        let due = taken.map(|row| row.message.due_at()).min()?;
        Some((Utc::now() - due).to_std().unwrap_or_default())
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct BatchResult {
    /// The channel, as numbered by [`Event::Channels`].
    pub(crate) channel: usize,
    pub(crate) outcomes: Vec<(Position, Outcome)>,
}

/// What a publisher needs to know.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) number: usize,
    pub(super) channel: Confirming,
    pub(super) exchange: ShortString,
    pub(super) source: Arc<str>,
    pub(super) confirm_timeout: Duration,
    /// Whether the broker takes no messages for now; no confirm is overdue then.
    pub(super) blocked: watch::Receiver<bool>,
    /// The connection is being given up.
    pub(super) lost: CancellationToken,
    /// When a batch was last confirmed, on any of the connection's channels.
    pub(super) confirmed: watch::Sender<Option<Instant>>,
}

impl Publisher {
    /// Publishes one order after another, until the connection is lost or the orders end.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<BatchRequest>,
        events: mpsc::Sender<Event>,
    ) -> Result<(), BrokerError> {
        loop {
            let order = tokio::select! {
                order = orders.recv() => order,
                () = self.lost.cancelled() => {
                    self.report_unsent(orders, &events).await;
                    return Ok(());
                }
            };
            let Some(order) = order else { return Ok(()) };
            let started = Instant::now();
            let (outcomes, mut error) = self.publish(&order).await;
            let any = |which: Outcome| outcomes.iter().any(|(_, outcome)| *outcome == which);
            if self.lost.is_cancelled() {
                // The connection ends.
            } else if let Some(closed) = error.take_if(|_| any_blamed(&outcomes)) {
                // Over a message that it does not take, mostly the channel alone.
                let renewed = self.open_anew(Duration::ZERO).await;
                if renewed.is_ok() {
                    events::ChannelClosed { error: &closed }.emit();
                }
                error = renewed.err().map(|_| closed);
            } else if error.is_some() {
                // The connection ends.
            } else if any(Outcome::Overdue) {
                // What is in flight on it cannot be taken back.
                error = self.open_anew(Duration::ZERO).await.err();
            } else {
                // What no queue took is confirmed even while a disk hangs.
                if any(Outcome::Confirmed) {
                    self.confirmed.send_replace(Some(Instant::now()));
                }
                events::BatchConfirmed {
                    took: started.elapsed(),
                    delay: order.delay(&outcomes),
                }
                .emit();
                if any(Outcome::Nacked) {
                    // It may be stuck; a young one has been opened for this reason already.
                    error = self.open_anew(LEAST_AGE).await.err();
                }
            }
            self.report(&events, outcomes).await;
            if let Some(error) = error {
                self.report_unsent(orders, &events).await;
                return Err(error);
            }
        }
    }

    /// Opens the channel anew if it is of an age.
    async fn open_anew(&mut self, least_age: Duration) -> Result<(), BrokerError> {
        let (blocked, after) = (self.blocked.clone(), self.confirm_timeout);
        tokio::select! {
            renewed = self.channel.renew(least_age) => renewed,
            () = overdue(blocked, after) => Err(BrokerError::TimedOut {
                what: "opening a channel",
                after,
            }),
            () = self.lost.cancelled() => Ok(()),
        }
    }

    /// What the engine has sent before it knew comes back unpublished.
    async fn report_unsent(
        &self,
        mut orders: mpsc::Receiver<BatchRequest>,
        events: &mpsc::Sender<Event>,
    ) {
        orders.close();
        while let Some(order) = orders.recv().await {
            self.report(events, all(&order, &Outcome::Unsent)).await;
        }
    }

    async fn report(&self, events: &mpsc::Sender<Event>, outcomes: Vec<(Position, Outcome)>) {
        let returned = BatchResult {
            channel: self.number,
            outcomes,
        };
        // If the engine is gone, so is everything that could be done about it.
        drop(events.send(Event::BatchDone(returned)).await);
    }

    async fn publish(
        &self,
        order: &BatchRequest,
    ) -> (Vec<(Position, Outcome)>, Option<BrokerError>) {
        let channel = self.channel.channel();
        let published = tokio::select! {
            // What ended the connection may have told the batch why: that is heard first.
            biased;
            published = batch::publish(channel, &self.exchange, &self.source, &order.batch) => {
                published.map_err(Some)
            }
            () = overdue(self.blocked.clone(), self.confirm_timeout) => Err(None),
            () = self.lost.cancelled() => return (unknown(order, None), None),
        };
        match published {
            Ok(outcomes) => (outcomes, None),
            Err(Some(batch::Error::Unmatched(why))) => {
                (unknown(order, None), Some(BrokerError::Unmatched(why)))
            }
            Err(Some(batch::Error::Client(error))) => {
                let blame = blame(&error);
                let error = match reply_code(&error) {
                    Some(403 | 404) if blame.is_none() => BrokerError::RouteDown {
                        exchange: self.exchange.to_string(),
                        source: error,
                    },
                    _ => BrokerError::Lost(error),
                };
                (unknown(order, blame.as_deref()), Some(error))
            }
            Err(None) => {
                let after = self.confirm_timeout;
                // If it confirms what others sent, it is not the connection. If it did until a while
                // ago it may be, unless this was sent because the topic is in doubt.
                let recently = if order.apart { after } else { after / 2 };
                if self.confirmed_within(recently) {
                    let topics = order.batch.iter().map(|row| &*row.topic).collect();
                    events::Unconfirmed { after, topics }.emit();
                    (all(order, &Outcome::Overdue), None)
                } else {
                    let error = BrokerError::ConfirmOverdue { after };
                    (all(order, &Outcome::Overdue), Some(error))
                }
            }
        }
    }

    /// Whether the broker confirmed a batch, on any channel, so recently.
    fn confirmed_within(&self, time: Duration) -> bool {
        let last = *self.confirmed.borrow();
        last.is_some_and(|last| last.elapsed() < time)
    }
}

/// Ends once an answer is overdue. While the broker blocks, none is.
async fn overdue(mut blocked: watch::Receiver<bool>, after: Duration) {
    loop {
        tokio::select! {
            () = sleep(after), if !*blocked.borrow() => return,
            changed = blocked.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Nothing is known of a batch: not even its acknowledged messages can be trusted, since their
/// returns may not have come.
fn unknown(order: &BatchRequest, blame: Option<&str>) -> Vec<(Position, Outcome)> {
    let blame = blame.map(str::to_owned);
    all(order, &Outcome::Unknown { blame })
}

fn all(order: &BatchRequest, outcome: &Outcome) -> Vec<(Position, Outcome)> {
    let positions = order.batch.iter().map(|row| row.position);
    positions
        .map(|position| (position, outcome.clone()))
        .collect()
}

fn any_blamed(outcomes: &[(Position, Outcome)]) -> bool {
    let is_blamed = |outcome: &Outcome| matches!(outcome, Outcome::Unknown { blame: Some(_) });
    outcomes.iter().any(|(_, outcome)| is_blamed(outcome))
}

/// The broker's words, if it closed the channel or connection over what was published: not for a
/// missing or refused exchange (404, 403), nor when an operator or a shutdown closed it (320).
fn blame(error: &lapin::Error) -> Option<String> {
    match reply_code(error) {
        // The user may write others (RabbitMQ's topic permissions).
        Some(403) if error.to_string().contains("access to topic") => Some(error.to_string()),
        // Closed by an operator, refused, missing, or an error of the broker's own.
        None | Some(320 | 403 | 404 | 541) => None,
        Some(_) => Some(error.to_string()),
    }
}
