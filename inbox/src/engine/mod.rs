//! A delivery's way through its attempts.

mod telling;

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt, util::BoxCloneSyncService};
use tracing::{Instrument, Span, info_span};

use crate::{
    Delivery, Outcome, Reason,
    delivery::Origin,
    events,
    group::Seat,
    handler::{BoxError, Router},
    parked,
    policy::{Fault, Limits, Meaning, Next, Progress, Verdict},
    transaction::{Settings, panic_text},
    witness::Witness,
};

/// The services around the handlers, the user's layers included.
pub type DeliveryService = BoxCloneSyncService<Delivery, Outcome, BoxError>;

/// Everything that runs deliveries, whether they come from the queue or were parked.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    /// The same as inside `service`: to know before the transaction that no handler takes a type.
    pub(crate) router: Router,
    pub(crate) service: DeliveryService,
    /// How long an attempt may take, whatever goes wrong within its transaction.
    pub(crate) patience: Duration,
    /// Connections to the broker that this process has lost, and lived on.
    pub(crate) connections_lost: AtomicU64,
}

/// What is to be told to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// What became of the delivery is committed.
    Acknowledge,
    /// Nothing became of it; it is to come again.
    Leave,
}

/// A delivery's turn among those that start with it.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Keeps its place in their transaction, for the first attempt.
    pub(crate) seat: Option<Seat>,
    /// Settled when the one before it of its key is; dropped if that is left.
    pub(crate) before: Option<oneshot::Receiver<()>>,
}

/// Waits for the delivery before this one. If that comes again, so must this one.
async fn come(before: Option<oneshot::Receiver<()>>) -> Settled {
    let Some(before) = before else {
        return Settled::Acknowledge;
    };
    match before.await {
        Ok(()) => Settled::Acknowledge,
        Err(_) => Settled::Leave,
    }
}

impl Engine {
    pub(crate) fn consumer(&self) -> &str {
        &self.settings.consumer
    }

    /// Runs a delivery from the queue until it is handled or parked, or until `ended`.
    pub(crate) async fn deliver(
        &self,
        delivery: &Delivery,
        turn: Turn,
        ended: &CancellationToken,
    ) -> Settled {
        let Turn { mut seat, before } = turn;
        if let Some(verdict) = self.triage(delivery) {
            drop(seat);
            return match come(before).await {
                Settled::Acknowledge => self.park(delivery, &verdict, ended).await,
                Settled::Leave => Settled::Leave,
            };
        }
        let mut before = Some(before);
        let keyed = delivery.message().key.is_some();
        let mut progress = Progress::default();
        loop {
            let seat = seat.take();
            let attempt = delivery.with_attempt(progress.attempt());
            let place = seat.as_ref().map(Seat::place);
            let fault = match self.attempt(attempt.with_place(place)).await {
                Ok(outcome) => {
                    self.emit_outcome(outcome);
                    return Settled::Acknowledge;
                }
                Err(fault) => fault,
            };
            let shared = seat.is_some();
            drop(seat);
            // By itself from here on, and not before the one before it.
            if let Some(before) = before.take()
                && come(before).await == Settled::Leave
            {
                return Settled::Leave;
            }
            if shared && fault.meaning == Meaning::Alone {
                // It comes again elsewhere, and here there may be no time for it.
                if ended.is_cancelled() {
                    return Settled::Leave;
                }
                continue;
            }
            match progress.next(&self.limits, fault, keyed) {
                Next::Again(wait) => {
                    tokio::select! {
                        () = ended.cancelled() => return Settled::Leave,
                        () = sleep(wait) => {}
                    }
                }
                Next::Park(verdict) => return self.park(delivery, &verdict, ended).await,
            }
        }
    }

    /// Runs a delivery once, through the user's layers.
    pub(crate) async fn attempt(&self, delivery: Delivery) -> Result<Outcome, Fault> {
        let began = Instant::now();
        let is_parked = matches!(delivery.origin(), Origin::Parked { .. });
        let origin = if is_parked { "parked" } else { "queue" };
        let number = delivery.attempt();
        let witness = Witness::default();
        let delivery = delivery.with_witness(witness.clone());
        // On a clone, which `oneshot` makes ready before it is called.
        let service = self.service.clone();
        let work = AssertUnwindSafe(async move { service.oneshot(delivery).await });
        let (consumer, waited) = (self.consumer(), self.patience);
        let tell = || events::Stuck { consumer, waited }.emit();
        match watched(work.catch_unwind(), waited, tell).await {
            Ok(Ok(_)) if is_parked && !witness.was_entered() => {
                Err(self.emit_fault(Fault::kept_away(), number))
            }
            Ok(Ok(outcome)) => {
                // A layer answers for what failed within: believed, the message would be lost.
                if let Some(fault) = witness.fault() {
                    return Err(self.emit_fault(fault, number));
                }
                if outcome == Outcome::Handled {
                    let took = began.elapsed();
                    events::Handled {
                        consumer,
                        origin,
                        took,
                    }
                    .emit();
                }
                Ok(outcome)
            }
            Ok(Err(error)) => {
                let fault = Fault::read(error.as_ref(), witness.fault().map(|fault| fault.meaning));
                Err(self.emit_fault(fault, number))
            }
            Err(panic) => {
                let fault = Fault::panicked(&panic_text(panic.as_ref()));
                Err(self.emit_fault(fault, number))
            }
        }
    }

    /// Finds the deliveries that no handler is to see.
    fn triage(&self, delivery: &Delivery) -> Option<Verdict> {
        let message = delivery.message();
        if let Some(problem) = &message.unreadable {
            let text = format!("the message cannot be read as it was sent: {problem}");
            return Some(self.limits.unreadable(text, message.key.is_some()));
        }
        if message.message_id.is_none() {
            let text = "its publisher set no AMQP message-id";
            return Some(Verdict::hopeless(Reason::NoId, text.to_owned()));
        }
        let type_name = delivery.type_name();
        if !self.router.handles(type_name) {
            return Some(Limits::unhandled(type_name, message.key.is_some()));
        }
        // The broker counts what it sent on connections that were lost, too.
        let lost = self.connections_lost.load(Ordering::Relaxed);
        let deliveries = message.delivery_count.saturating_sub(lost);
        (deliveries >= self.limits.max_crashes)
            .then(|| self.limits.crashed(deliveries, message.key.is_some()))
    }

    /// Parks a delivery from the queue, however long the database takes.
    async fn park(
        &self,
        delivery: &Delivery,
        verdict: &Verdict,
        ended: &CancellationToken,
    ) -> Settled {
        let mut tries = 0;
        loop {
            match parked::park(&self.settings, delivery, verdict).await {
                Ok(outcome) => {
                    self.emit_outcome(outcome);
                    if verdict.is_dead() && outcome != Outcome::Duplicate {
                        self.emit_dead(verdict);
                    }
                    return Settled::Acknowledge;
                }
                Err(error) => self.emit_unavailable("parking a message", &error),
            }
            tokio::select! {
                () = ended.cancelled() => return Settled::Leave,
                () = sleep(self.limits.outage.delay(tries)) => tries += 1,
            }
        }
    }
}

/// Waits for an answer, however long it takes; tells once if that is longer than a time.
async fn watched<T>(answer: impl Future<Output = T>, patience: Duration, tell: impl FnOnce()) -> T {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(patience, &mut answer).await {
        return answer;
    }
    tell();
    answer.await
}

/// The span in which everything about a delivery happens.
pub(crate) fn span(consumer: &str, delivery: &Delivery) -> Span {
    let message = delivery.message();
    info_span!(
        "delivery",
        consumer,
        message_id = message.message_id,
        topic = message.topic,
        key = message.key,
    )
}

/// Runs a delivery from the queue in a span of its own.
pub(crate) async fn deliver(
    engine: Arc<Engine>,
    delivery: Delivery,
    turn: Turn,
    ended: CancellationToken,
) -> Settled {
    let span = span(engine.consumer(), &delivery);
    engine
        .deliver(&delivery, turn, &ended)
        .instrument(span)
        .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::watched;

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_told_and_waited_for() {
        let (told, hears) = oneshot::channel();
        let tell = || told.send("at last").unwrap();
        let answer = watched(hears, Duration::from_millis(1), tell).await;
        assert_eq!(answer.unwrap(), "at last");
        let at_once = watched(async { 1 }, Duration::from_hours(1), || panic!("told")).await;
        assert_eq!(at_once, 1);
    }
}
