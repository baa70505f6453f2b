//! The task that owns the connection to the broker and reconnects after a loss.

use std::time::{Duration, Instant};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{BrokerError, Event, State, publisher::Publisher};
use crate::{
    events,
    reconnect::Reconnect,
    transport::{self, Connection as _, Opened, Transport},
};

/// Age at which a connection counts as stable: its loss is retried with the shortest backoff again.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Settings of the connection task.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionTask<T> {
    pub(crate) transport: T,
    /// Name of the fence, which only one relay of an outbox and lane can hold.
    pub(crate) fence: String,
    /// Longest wait for the answers to a batch.
    pub(crate) confirm_timeout: Duration,
    /// `true` if an earlier session has used this broker: a refusal is then treated as temporary.
    pub(crate) was_ready: bool,
    /// Takes `true` while another connection holds the fence.
    pub(crate) fenced: watch::Sender<bool>,
}

impl<T: Transport> ConnectionTask<T> {
    /// Keeps the relay connected until `stop`, and reports to `events`.
    pub(crate) async fn run(self, events: mpsc::Sender<Event>, stop: CancellationToken) {
        let mut attempts = Reconnect::new(STABLE_AFTER);
        let mut was_ready = self.was_ready;
        // `true` while the broker has confirmed nothing since it left confirms overdue.
        let mut unconfirmed = false;
        while !stop.is_cancelled() {
            report(&events, State::Connecting).await;
            let Some(opened) = self.transport.open(&self.fence, &stop).await else {
                return;
            };
            let mut lasted = Duration::ZERO;
            let error = match opened {
                Ok(open) => {
                    was_ready = true;
                    self.report_fenced(false);
                    let opened = Instant::now();
                    match self.serve(open, &mut unconfirmed, &events, &stop).await {
                        // No report is needed: the session ends, and everything in flight with it.
                        Ok(()) | Err(BrokerError::Task) => return,
                        Err(error) => {
                            unconfirmed |= matches!(error, BrokerError::ConfirmOverdue { .. });
                            if !unconfirmed {
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
            self.report_fenced(error.is_fenced());
            let retry_in = attempts.failed(lasted);
            let state = State::Disconnected {
                reason: error.to_string(),
                refused: error.is_refusal(),
                retry_in,
            };
            report(&events, state).await;
            stop.run_until_cancelled(sleep(retry_in)).await;
        }
    }

    fn report_fenced(&self, is_fenced: bool) {
        self.fenced
            .send_if_modified(|fenced| std::mem::replace(fenced, is_fenced) != is_fenced);
    }

    /// Publishes until the connection is lost or `stop` is cancelled.
    async fn serve(
        &self,
        open: Opened<T>,
        unconfirmed: &mut bool,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let Opened {
            mut connection,
            channels,
            blocked: mut shortage,
        } = open;
        let (blocked, is_blocked) = watch::channel(shortage.is_some());
        let (confirmed, mut seen_confirmed) = watch::channel(None::<Instant>);
        let lost = CancellationToken::new();
        let mut publishers = JoinSet::new();
        let mut requests = Vec::with_capacity(channels.len());
        for (number, channel) in channels.into_iter().enumerate() {
            let (sender, receiver) = mpsc::channel(1);
            requests.push(sender);
            let publisher = Publisher {
                number,
                channel,
                opened: Instant::now(),
                confirm_timeout: self.confirm_timeout,
                blocked: is_blocked.clone(),
                lost: lost.clone(),
                confirmed: confirmed.clone(),
            };
            publishers.spawn(publisher.run(receiver, events.clone()));
        }
        report(events, connected(shortage.as_ref(), *unconfirmed)).await;
        drop(events.send(Event::Channels(requests)).await);
        let ended = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                event = connection.event() => {
                    shortage = match event {
                        transport::Event::Blocked(reason) => Some(reason),
                        transport::Event::Unblocked => None,
                        transport::Event::Lost(error) => break Err(error),
                    };
                    blocked.send_replace(shortage.is_some());
                    report(events, connected(shortage.as_ref(), *unconfirmed)).await;
                }
                Ok(()) = seen_confirmed.changed(), if *unconfirmed => {
                    *unconfirmed = false;
                    report(events, connected(shortage.as_ref(), false)).await;
                }
                Some(ended) = publishers.join_next() => match ended {
                    Ok(Err(error)) => break Err(error),
                    // The engine has dropped its senders and ended.
                    Ok(Ok(())) => break Ok(()),
                    // The publisher panicked, so the outcomes of its batch are unknown.
                    Err(_) => break Err(BrokerError::Task),
                },
            }
        };
        lost.cancel();
        while publishers.join_next().await.is_some() {}
        connection.close().await;
        ended
    }
}

/// Returns the state of an open connection whose broker may be short of a resource, or may have left
/// confirms overdue.
fn connected(shortage: Option<&String>, unconfirmed: bool) -> State {
    match shortage {
        Some(reason) => State::Blocked {
            reason: reason.clone(),
        },
        None if unconfirmed => State::Unconfirmed,
        None => State::Ready,
    }
}

async fn report(events: &mpsc::Sender<Event>, state: State) {
    events::BrokerState { state: &state }.emit();
    // If the engine has ended, this task is about to be stopped.
    drop(events.send(Event::State(state)).await);
}
