//! The task that owns one channel and has one batch in flight at a time, on which the outcomes found
//! by `crate::transport` depend. Several channels keep the broker busy.

use std::time::{Duration, Instant};

use chrono::Utc;
use relay_core::publish::{Batch, Outcome};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{BrokerError, Event};
use crate::{
    events,
    store::StoredMessage,
    transport::{Channel, Loss},
};

/// Least age of a channel that is reopened after a nack. A queue that is really full refuses for long, and
/// opening channels more often would only cost time.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// A batch to publish.
#[derive(Debug)]
pub(crate) struct BatchRequest {
    pub(crate) batch: Batch<StoredMessage>,
    /// `true` if the batch holds only messages of one isolated topic.
    pub(crate) isolated: bool,
}

impl BatchRequest {
    /// Returns the age of the oldest confirmed message since it was due, by this machine's clock; `None` if
    /// no message was confirmed. Used for the metric only.
    fn delay(&self, outcomes: &[Outcome]) -> Option<Duration> {
        let taken = self.batch.iter().zip(outcomes);
        let taken = taken.filter(|(_, outcome)| **outcome == Outcome::Confirmed);
        let due = taken.map(|(row, _)| row.message.due_at()).min()?;
        Some((Utc::now() - due).to_std().unwrap_or_default())
    }
}

/// A task that publishes on one channel.
#[derive(Debug)]
pub(super) struct Publisher<C> {
    pub(super) number: usize,
    pub(super) channel: C,
    /// Time at which the channel was opened.
    pub(super) opened: Instant,
    pub(super) confirm_timeout: Duration,
    /// `true` while the broker accepts no messages; no confirm is overdue then.
    pub(super) blocked: watch::Receiver<bool>,
    /// Cancelled when the connection is about to be closed.
    pub(super) lost: CancellationToken,
    /// Time of the last confirmed batch on any channel of the connection; `None` before the first.
    pub(super) confirmed: watch::Sender<Option<Instant>>,
}

impl<C: Channel> Publisher<C> {
    /// Publishes one batch after another, until the connection is lost or the requests end.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<BatchRequest>,
        events: mpsc::Sender<Event>,
    ) -> Result<(), BrokerError> {
        loop {
            let request = tokio::select! {
                request = requests.recv() => request,
                () = self.lost.cancelled() => {
                    self.report_unsent(requests, &events).await;
                    return Ok(());
                }
            };
            let Some(request) = request else {
                return Ok(());
            };
            let started = Instant::now();
            let (outcomes, mut error) = self.publish(&request).await;
            let any = |which: Outcome| outcomes.contains(&which);
            if self.lost.is_cancelled() {
                // The connection ends.
            } else if let Some(closed) = error.take_if(|_| any_blamed(&outcomes)) {
                // The broker refused a message; mostly it closed only the channel.
                let renewed = self.reopen_channel(Duration::ZERO).await;
                if renewed.is_ok() {
                    events::ChannelClosed { error: &closed }.emit();
                }
                error = renewed.err().map(|_| closed);
            } else if error.is_some() {
                // The connection ends.
            } else if any(Outcome::Overdue) {
                // Messages in flight on the channel cannot be withdrawn.
                error = self.reopen_channel(Duration::ZERO).await.err();
            } else {
                // Messages that no queue took are confirmed even while a disk hangs, so they are not
                // counted.
                if any(Outcome::Confirmed) {
                    self.confirmed.send_replace(Some(Instant::now()));
                }
                events::BatchConfirmed {
                    took: started.elapsed(),
                    delay: request.delay(&outcomes),
                }
                .emit();
                if any(Outcome::Nacked) {
                    // The channel may be stuck. A young channel has been reopened for this reason already.
                    error = self.reopen_channel(LEAST_AGE).await.err();
                }
            }
            self.report(&events, &request, outcomes).await;
            if let Some(error) = error {
                self.report_unsent(requests, &events).await;
                return Err(error);
            }
        }
    }

    /// Reopens the channel if it is at least `least_age` old.
    ///
    /// Use it after an overdue confirm or a refused message. The broker's side of a channel remembers which
    /// node led a quorum queue when the channel first published to the queue. If that node was dead at that
    /// time, the channel refuses every message for the queue until the node is back, long after another
    /// node has become leader (RabbitMQ 3.10, `rabbit_fifo_client:enqueue`). A new channel looks the leader
    /// up again.
    async fn reopen_channel(&mut self, least_age: Duration) -> Result<(), BrokerError> {
        if self.opened.elapsed() < least_age {
            return Ok(());
        }
        let (blocked, after) = (self.blocked.clone(), self.confirm_timeout);
        tokio::select! {
            renewed = self.channel.renew() => {
                self.opened = Instant::now();
                renewed
            }
            () = overdue(blocked, after) => Err(BrokerError::TimedOut {
                what: "opening a channel",
                after,
            }),
            () = self.lost.cancelled() => Ok(()),
        }
    }

    /// Returns the batches that the engine sent before it knew of the loss, as unsent.
    async fn report_unsent(
        &self,
        mut requests: mpsc::Receiver<BatchRequest>,
        events: &mpsc::Sender<Event>,
    ) {
        requests.close();
        while let Some(request) = requests.recv().await {
            let outcomes = all(&request, Outcome::Unsent);
            self.report(events, &request, outcomes).await;
        }
    }

    async fn report(
        &self,
        events: &mpsc::Sender<Event>,
        request: &BatchRequest,
        outcomes: Vec<Outcome>,
    ) {
        let positions = request.batch.iter().map(|row| row.position);
        let done = Event::BatchDone {
            channel: self.number,
            outcomes: positions.zip(outcomes).collect(),
        };
        // If the engine has ended, the outcomes are of no use.
        drop(events.send(done).await);
    }

    /// Publishes the messages of a batch; returns the outcome of each one, in their order, and the error that closed
    /// the channel or the connection.
    async fn publish(&mut self, request: &BatchRequest) -> (Vec<Outcome>, Option<BrokerError>) {
        let mut messages = Vec::with_capacity(request.batch.len());
        let mut outcomes = Vec::with_capacity(request.batch.len());
        for row in &request.batch {
            let unpublished = row.message.unpublished();
            if unpublished.is_none() {
                messages.push(&row.message.message);
            }
            outcomes.push(unpublished);
        }
        let published = tokio::select! {
            // The batch may have received the error that ended the connection, so it is polled first.
            biased;
            published = self.channel.publish(&messages) => published.map_err(Some),
            () = overdue(self.blocked.clone(), self.confirm_timeout) => Err(None),
            () = self.lost.cancelled() => return (all(request, Outcome::Unknown { blame: None }), None),
        };
        match published {
            Ok(published) if published.len() == messages.len() => {
                let mut published = published.into_iter();
                let outcomes = outcomes.into_iter();
                let outcomes =
                    outcomes.filter_map(|unpublished| unpublished.or_else(|| published.next()));
                (outcomes.collect(), None)
            }
            Ok(_) => {
                let error = BrokerError::Unmatched("not every message has an outcome");
                (all(request, Outcome::Unknown { blame: None }), Some(error))
            }
            Err(Some(Loss { error, blame })) => {
                (all(request, Outcome::Unknown { blame }), Some(error))
            }
            Err(None) => {
                let after = self.confirm_timeout;
                // If messages of other batches are confirmed, the connection works. If they were confirmed
                // until a while ago, the connection may be at fault, unless the topic is isolated already.
                let recently = if request.isolated { after } else { after / 2 };
                if self.confirmed_within(recently) {
                    let topics = request.batch.iter().map(|row| &*row.topic).collect();
                    events::Unconfirmed { after, topics }.emit();
                    (all(request, Outcome::Overdue), None)
                } else {
                    let error = BrokerError::ConfirmOverdue { after };
                    (all(request, Outcome::Overdue), Some(error))
                }
            }
        }
    }

    /// Returns `true` if the broker confirmed a batch on any channel within the last `time`.
    fn confirmed_within(&self, time: Duration) -> bool {
        let last = *self.confirmed.borrow();
        last.is_some_and(|last| last.elapsed() < time)
    }
}

/// Waits until an answer is overdue. The time does not run while the broker blocks.
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

/// Returns the same outcome for each message of a batch. If the channel is lost, even acknowledged messages are unknown,
/// because their returns may not have arrived.
fn all(request: &BatchRequest, outcome: Outcome) -> Vec<Outcome> {
    vec![outcome; request.batch.len()]
}

fn any_blamed(outcomes: &[Outcome]) -> bool {
    let is_blamed = |outcome: &Outcome| matches!(outcome, Outcome::Unknown { blame: Some(_) });
    outcomes.iter().any(is_blamed)
}
