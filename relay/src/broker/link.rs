//! The task that owns the connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    BrokerError, Event, State,
    open::{Open, short},
    publisher::Publisher,
};
use crate::{
    config::{Amqp, Secret},
    events,
    publish::Backoff,
};

const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(5),
};

/// How long to wait for the broker's farewell.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the link needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) url: Secret,
    pub(crate) amqp: Amqp,
    /// Name of the exclusive queue that keeps others of the same outbox and lane away.
    pub(crate) fence: String,
    /// A silent connection is given up, by either side, within the lease.
    pub(crate) lease_timeout: Duration,
}

impl Link {
    /// Keeps a connection until `stop`; reports to `events`.
    pub(crate) async fn run(self, events: mpsc::Sender<Event>, stop: CancellationToken) {
        let mut failures = 0_u32;
        let mut was_ready = false;
        // Whether the broker left confirms overdue and has confirmed nothing since.
        let mut doubtful = false;
        while !stop.is_cancelled() {
            report(&events, State::Connecting).await;
            let error = match self.open().await {
                Ok(open) => {
                    was_ready = true;
                    match self.serve(open, &mut doubtful, &events, &stop).await {
                        Ok(()) => return,
                        Err(error) => {
                            doubtful |= matches!(error, BrokerError::ConfirmOverdue { .. });
                            if !doubtful {
                                failures = 0;
                            }
                            error
                        }
                    }
                }
                Err(error) if error.is_permanent() && !was_ready => {
                    drop(events.send(Event::Refused(error)).await);
                    return;
                }
                Err(error) => error,
            };
            failures += 1;
            let retry_in = BACKOFF.wait(failures, i64::from(std::process::id()));
            report(
                &events,
                State::Disconnected {
                    reason: error.to_string(),
                    retry_in,
                },
            )
            .await;
            tokio::select! {
                () = sleep(retry_in) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Publishes until the connection is lost, or `stop`.
    async fn serve(
        &self,
        open: Open,
        doubtful: &mut bool,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let Open {
            connection,
            channels,
            fence: _fence,
        } = open;
        // One listener, always drained: its queue is unbounded.
        let mut notices = Box::pin(connection.events_listener());
        let (blocked, is_blocked) = watch::channel(connection.status().blocked());
        let (confirmed, mut seen_confirmed) = watch::channel(None::<Instant>);
        let lost = CancellationToken::new();
        let mut publishers = JoinSet::new();
        let mut orders = Vec::with_capacity(channels.len());
        for (number, channel) in channels.into_iter().enumerate() {
            let (sender, receiver) = mpsc::channel(1);
            orders.push(sender);
            let publisher = Publisher {
                number,
                channel,
                exchange: short(&self.amqp.exchange),
                source: Arc::from(self.amqp.source.as_str()),
                confirm_timeout: self.amqp.confirm_timeout,
                blocked: is_blocked.clone(),
                lost: lost.clone(),
                confirmed: confirmed.clone(),
            };
            publishers.spawn(publisher.run(receiver, events.clone()));
        }
        report(events, connected(*doubtful)).await;
        drop(events.send(Event::Channels(orders)).await);
        let ended = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                notice = notices.next() => match notice {
                    Some(lapin::Event::ConnectionBlocked(reason)) => {
                        blocked.send_replace(true);
                        report(events, State::Blocked { reason }).await;
                    }
                    Some(lapin::Event::ConnectionUnblocked) => {
                        blocked.send_replace(false);
                        report(events, connected(*doubtful)).await;
                    }
                    Some(lapin::Event::Error(error)) => break Err(BrokerError::Lost(error)),
                    Some(_) => {}
                    None => break Err(BrokerError::Closed),
                },
                Ok(()) = seen_confirmed.changed(), if *doubtful => {
                    *doubtful = false;
                    report(events, State::Ready).await;
                }
                Some(ended) = publishers.join_next() => match ended {
                    Ok(Err(error)) => break Err(error),
                    // Orders ended: the engine is gone.
                    Ok(Ok(())) => break Ok(()),
                    Err(_) => break Err(BrokerError::Closed),
                },
            }
        };
        lost.cancel();
        while publishers.join_next().await.is_some() {}
        drop(timeout(CLOSE_TIMEOUT, connection.close(200, short("bye"))).await);
        ended
    }
}

const fn connected(doubtful: bool) -> State {
    if doubtful {
        State::Unconfirmed
    } else {
        State::Ready
    }
}

async fn report(events: &mpsc::Sender<Event>, state: State) {
    events::BrokerState { state: &state }.emit();
    // If the engine is gone, the link is about to be stopped.
    drop(events.send(Event::State(state)).await);
}
