//! A delivery's way through its attempts.

mod report;

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
    group::BatchSlot,
    handler::{BoxError, Router},
    parked,
    policy::{ErrorClass, Fault, Limits, Next, ParkDecision, Progress},
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
    pub(crate) attempt_timeout: Duration,
    /// Connections to the broker that this process has lost, and lived on.
    pub(crate) connections_lost: AtomicU64,
}

/// What is to be told to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// What became of the delivery is committed.
    Acknowledge,
    /// Nothing became of it; it is to come again.
    Redeliver,
}

/// A delivery's turn among those that start with it.
#[derive(Debug, Default)]
pub(crate) struct BatchStart {
    /// Keeps its place in their transaction, for the first attempt.
    pub(crate) slot: Option<BatchSlot>,
    /// Settlement when the one before it of its key is; dropped if that is left.
    pub(crate) predecessor: Option<oneshot::Receiver<()>>,
}

/// Waits for the delivery before this one. If that comes again, so must this one.
async fn wait_for(predecessor: Option<oneshot::Receiver<()>>) -> Settlement {
    let Some(predecessor) = predecessor else {
        return Settlement::Acknowledge;
    };
    match predecessor.await {
        Ok(()) => Settlement::Acknowledge,
        Err(_) => Settlement::Redeliver,
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
        turn: BatchStart,
        ended: &CancellationToken,
    ) -> Settlement {
        let BatchStart {
            mut slot,
            predecessor,
        } = turn;
        if let Some(decision) = self.triage(delivery) {
            drop(slot);
            return match wait_for(predecessor).await {
                Settlement::Acknowledge => self.park(delivery, &decision, ended).await,
                Settlement::Redeliver => Settlement::Redeliver,
            };
        }
        let mut predecessor = Some(predecessor);
        let keyed = delivery.message().key.is_some();
        let mut progress = Progress::default();
        loop {
            let slot = slot.take();
            let attempt = delivery.with_attempt(progress.attempt());
            let place = slot.as_ref().map(BatchSlot::handle);
            let fault = match self.attempt(attempt.with_slot(place)).await {
                Ok(outcome) => {
                    self.emit_outcome(outcome);
                    return Settlement::Acknowledge;
                }
                Err(fault) => fault,
            };
            let shared = slot.is_some();
            drop(slot);
            // By itself from here on, and not before the one before it.
            if let Some(predecessor) = predecessor.take()
                && wait_for(predecessor).await == Settlement::Redeliver
            {
                return Settlement::Redeliver;
            }
            if shared && fault.class == ErrorClass::Alone {
                // It comes again elsewhere, and here there may be no time for it.
                if ended.is_cancelled() {
                    return Settlement::Redeliver;
                }
                continue;
            }
            match progress.next(&self.limits, fault, keyed) {
                Next::Again(wait) => {
                    tokio::select! {
                        () = ended.cancelled() => return Settlement::Redeliver,
                        () = sleep(wait) => {}
                    }
                }
                Next::Park(decision) => return self.park(delivery, &decision, ended).await,
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
        let (consumer, waited) = (self.consumer(), self.attempt_timeout);
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
                let fault = Fault::read(error.as_ref(), witness.fault().map(|fault| fault.class));
                Err(self.emit_fault(fault, number))
            }
            Err(panic) => {
                let fault = Fault::panicked(&panic_text(panic.as_ref()));
                Err(self.emit_fault(fault, number))
            }
        }
    }

    /// Finds the deliveries that no handler is to see.
    fn triage(&self, delivery: &Delivery) -> Option<ParkDecision> {
        let message = delivery.message();
        if let Some(problem) = &message.unreadable {
            let text = format!("the message cannot be read as it was sent: {problem}");
            return Some(self.limits.unreadable(text, message.key.is_some()));
        }
        if message.message_id.is_none() {
            let text = "its publisher set no AMQP message-id";
            return Some(ParkDecision::hopeless(Reason::NoId, text.to_owned()));
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
        decision: &ParkDecision,
        ended: &CancellationToken,
    ) -> Settlement {
        let mut tries = 0;
        loop {
            match parked::park(&self.settings, delivery, decision).await {
                Ok(outcome) => {
                    self.emit_outcome(outcome);
                    if decision.is_dead() && outcome != Outcome::Duplicate {
                        self.emit_dead(decision);
                    }
                    return Settlement::Acknowledge;
                }
                Err(error) => self.emit_unavailable("parking a message", &error),
            }
            tokio::select! {
                () = ended.cancelled() => return Settlement::Redeliver,
                () = sleep(self.limits.outage.delay(tries)) => tries += 1,
            }
        }
    }
}

/// Waits for an answer, however long it takes; tells once if that is longer than a time.
async fn watched<T>(
    answer: impl Future<Output = T>,
    attempt_timeout: Duration,
    tell: impl FnOnce(),
) -> T {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(attempt_timeout, &mut answer).await {
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
    turn: BatchStart,
    ended: CancellationToken,
) -> Settlement {
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
