//! The task that owns one channel, and has one batch in flight at a time: what `batch` finds out
//! rests on that. Several channels keep the broker busy.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use lapin::types::ShortString;
use tokio::{
    sync::{Notify, mpsc, watch},
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

/// A batch to publish.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) batch: Batch<Message>,
}

impl Order {
    /// Age of its oldest message, by this machine's clock: for the metric only.
    fn delay(&self) -> Duration {
        let written = self.batch.iter().map(|row| row.message.occurred_at).min();
        let age = written.and_then(|written| (Utc::now() - written).to_std().ok());
        age.unwrap_or_default()
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Returned {
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
    /// Told of each batch that is confirmed.
    pub(super) confirms: Arc<Notify>,
}

impl Publisher {
    /// Publishes one order after another, until the connection is lost or the orders end.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<Event>,
    ) -> Result<(), BrokerError> {
        loop {
            let order = tokio::select! {
                order = orders.recv() => order,
                () = self.lost.cancelled() => {
                    // What was sent before the engine knew comes back unpublished.
                    orders.close();
                    while let Some(order) = orders.recv().await {
                        self.give_back(&events, unknown(&order, None)).await;
                    }
                    return Ok(());
                }
            };
            let Some(order) = order else { return Ok(()) };
            let started = Instant::now();
            let (outcomes, mut error) = self.publish(&order).await;
            if error.is_none() && !self.lost.is_cancelled() {
                self.confirms.notify_one();
                events::BatchConfirmed {
                    took: started.elapsed(),
                    delay: order.delay(),
                }
                .emit();
                if outcomes.iter().any(|(_, o)| *o == Outcome::Nacked) {
                    error = self.renew().await.err();
                }
            }
            self.give_back(&events, outcomes).await;
            if let Some(error) = error {
                orders.close();
                while let Some(order) = orders.recv().await {
                    self.give_back(&events, unknown(&order, None)).await;
                }
                return Err(error);
            }
        }
    }

    /// Opens the channel anew after it has refused messages: it may be stuck.
    async fn renew(&mut self) -> Result<(), BrokerError> {
        let (blocked, after) = (self.blocked.clone(), self.confirm_timeout);
        tokio::select! {
            renewed = self.channel.renew() => renewed,
            () = overdue(blocked, after) => Err(BrokerError::TimedOut {
                what: "opening a channel",
                after,
            }),
            () = self.lost.cancelled() => Ok(()),
        }
    }

    async fn give_back(&self, events: &mpsc::Sender<Event>, outcomes: Vec<(Position, Outcome)>) {
        let returned = Returned {
            channel: self.number,
            outcomes,
        };
        // If the engine is gone, so is everything that could be done about it.
        drop(events.send(Event::Returned(returned)).await);
    }

    async fn publish(&self, order: &Order) -> (Vec<(Position, Outcome)>, Option<BrokerError>) {
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
                    Some(403 | 404) => BrokerError::RouteDown {
                        exchange: self.exchange.to_string(),
                        source: error,
                    },
                    _ => BrokerError::Lost(error),
                };
                (unknown(order, blame.as_deref()), Some(error))
            }
            Err(None) => {
                let overdue = BrokerError::ConfirmOverdue {
                    after: self.confirm_timeout,
                };
                (unknown(order, None), Some(overdue))
            }
        }
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
fn unknown(order: &Order, blame: Option<&str>) -> Vec<(Position, Outcome)> {
    let outcome = |position: Position| {
        (
            position,
            Outcome::Unknown {
                blame: blame.map(str::to_owned),
            },
        )
    };
    order
        .batch
        .iter()
        .map(|row| outcome(row.position))
        .collect()
}

/// The broker's words, if it closed the channel or connection over what was published: not for a
/// missing or refused exchange (404, 403), nor when an operator or a shutdown closed it (320).
fn blame(error: &lapin::Error) -> Option<String> {
    match reply_code(error) {
        None | Some(320 | 403 | 404) => None,
        Some(_) => Some(error.to_string()),
    }
}
