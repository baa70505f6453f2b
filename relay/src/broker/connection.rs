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
    open::{CLOSE_TIMEOUT, Open, Target},
    publisher::Publisher,
    requests::short,
};
use crate::{backoff::Reconnect, events};

/// A connection that lasted so long was a success: the next loss is retried quickly again.
const LASTED: Duration = Duration::from_secs(5);

/// What the link needs to know.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionTask {
    pub(crate) target: Target,
    /// Whether an earlier session has used this broker: then a refusal will pass.
    pub(crate) was_ready: bool,
}

impl ConnectionTask {
    /// Keeps a connection until `stop`; reports to `events`.
    pub(crate) async fn run(self, events: mpsc::Sender<Event>, stop: CancellationToken) {
        let mut attempts = Reconnect::new(LASTED);
        let mut was_ready = self.was_ready;
        // Whether the broker left confirms overdue and has confirmed nothing since.
        let mut doubtful = false;
        while !stop.is_cancelled() {
            report(&events, State::Connecting).await;
            let Some(opened) = self.target.open(&stop).await else {
                return;
            };
            let mut lasted = Duration::ZERO;
            let error = match opened {
                Ok(open) => {
                    was_ready = true;
                    let opened = Instant::now();
                    match self.serve(open, &mut doubtful, &events, &stop).await {
                        // Without a report: the session ends, and what was in flight with it.
                        Ok(()) | Err(BrokerError::Task) => return,
                        Err(error) => {
                            doubtful |= matches!(error, BrokerError::ConfirmOverdue { .. });
                            if !doubtful {
                                lasted = opened.elapsed();
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
            let retry_in = attempts.failed(lasted);
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
            fence,
        } = open;
        let target = &self.target;
        let guard = fence.keep(target.lease_timeout / 4);
        tokio::pin!(guard);
        // One listener, always drained: its queue is unbounded.
        let mut notices = Box::pin(connection.events_listener());
        let mut shortage = None;
        if connection.status().blocked() {
            shortage = Some("the broker takes no messages".to_owned());
        }
        let (blocked, is_blocked) = watch::channel(shortage.is_some());
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
                exchange: short(&target.amqp.exchange),
                source: Arc::from(target.amqp.source.as_str()),
                confirm_timeout: target.amqp.confirm_timeout,
                blocked: is_blocked.clone(),
                lost: lost.clone(),
                confirmed: confirmed.clone(),
            };
            publishers.spawn(publisher.run(receiver, events.clone()));
        }
        report(events, connected(shortage.as_ref(), *doubtful)).await;
        drop(events.send(Event::Channels(orders)).await);
        let ended = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                notice = notices.next() => match notice {
                    Some(lapin::Event::ConnectionBlocked(reason)) => {
                        shortage = Some(reason);
                        blocked.send_replace(true);
                        report(events, connected(shortage.as_ref(), *doubtful)).await;
                    }
                    Some(lapin::Event::ConnectionUnblocked) => {
                        shortage = None;
                        blocked.send_replace(false);
                        report(events, connected(shortage.as_ref(), *doubtful)).await;
                    }
                    // What closes a channel alone is its user's.
                    Some(lapin::Event::Error(error))
                        if !error.is_amqp_soft_error() || !connection.status().connected() =>
                    {
                        break Err(BrokerError::Lost(error));
                    }
                    Some(_) => {}
                    None => break Err(BrokerError::Closed),
                },
                Ok(()) = seen_confirmed.changed(), if *doubtful => {
                    *doubtful = false;
                    report(events, connected(shortage.as_ref(), false)).await;
                }
                Some(ended) = publishers.join_next() => match ended {
                    Ok(Err(error)) => break Err(error),
                    // Orders ended: the engine is gone.
                    Ok(Ok(())) => break Ok(()),
                    // It panicked, and what it had in flight is known to nobody.
                    Err(_) => break Err(BrokerError::Task),
                },
                error = &mut guard => break Err(error),
            }
        };
        lost.cancel();
        while publishers.join_next().await.is_some() {}
        drop(timeout(CLOSE_TIMEOUT, connection.close(200, short("bye"))).await);
        ended
    }
}

/// Where a connection stands whose broker is short of something, or left confirms overdue.
fn connected(shortage: Option<&String>, doubtful: bool) -> State {
    match shortage {
        Some(reason) => State::Blocked {
            reason: reason.clone(),
        },
        None if doubtful => State::Unconfirmed,
        None => State::Ready,
    }
}

async fn report(events: &mpsc::Sender<Event>, state: State) {
    events::BrokerState { state: &state }.emit();
    // If the engine is gone, the link is about to be stopped.
    drop(events.send(Event::State(state)).await);
}
