//! The engine: runs a delivery's attempts until it is handled or parked.

mod park;
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
    policy::{ErrorClass, Fault, Limits, Next, ParkDecision, Progress},
    transaction::{Settings, panic_text},
    witness::Witness,
};

/// The stack of services around the handlers, the user's layers included.
pub type DeliveryService = BoxCloneSyncService<Delivery, Outcome, BoxError>;

/// Runs deliveries, both from the queue and parked ones.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    /// Copy of the router inside `service`, to find types without a handler before the transaction.
    pub(crate) router: Router,
    pub(crate) service: DeliveryService,
    /// Longest time that an attempt's transaction can take; a longer attempt is reported as stuck.
    pub(crate) attempt_timeout: Duration,
    /// Number of connections to the broker that this process has lost since its start.
    pub(crate) connections_lost: AtomicU64,
}

/// The settlement of a delivery at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The broker removes the delivery: its result is committed.
    Acknowledge,
    /// The delivery stays unacknowledged, and the broker delivers it again: no result is known to be committed.
    Redeliver,
}

/// A delivery's relation to the deliveries that start together with it.
#[derive(Debug, Default)]
pub(crate) struct BatchStart {
    /// Slot in their shared transaction, for the first attempt; `None` if the delivery starts alone.
    pub(crate) slot: Option<BatchSlot>,
    /// Receives a value when the preceding delivery of the key was acknowledged, an error if it will be
    /// redelivered; `None` if there is no preceding one.
    pub(crate) predecessor: Option<oneshot::Receiver<()>>,
}

/// Waits until the preceding delivery of the same key settles. If the broker redelivers it, this one must be
/// redelivered too, to keep the order.
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

    /// Runs a delivery from the queue until it is handled or parked. After `ended` is cancelled, because the
    /// channel ended or the consumer stops, the current attempt is finished, but no further one is made.
    pub(crate) async fn deliver(
        &self,
        delivery: &Delivery,
        start: BatchStart,
        ended: &CancellationToken,
    ) -> Settlement {
        let BatchStart {
            mut slot,
            predecessor,
        } = start;
        if let Some(decision) = self.park_without_attempt(delivery) {
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
            let handle = slot.as_ref().map(BatchSlot::handle);
            let fault = match self.attempt(attempt.with_slot(handle)).await {
                Ok(outcome) => {
                    self.emit_outcome(outcome);
                    return Settlement::Acknowledge;
                }
                Err(fault) => fault,
            };
            let shared = slot.is_some();
            drop(slot);
            // Further attempts run separately, and only after the preceding delivery of the key.
            if let Some(predecessor) = predecessor.take()
                && wait_for(predecessor).await == Settlement::Redeliver
            {
                return Settlement::Redeliver;
            }
            if shared && fault.class == ErrorClass::Alone {
                // The broker redelivers the message, and the shutdown may leave no time for an attempt here.
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
        // `oneshot` makes the clone ready before calling it.
        let service = self.service.clone();
        let work = AssertUnwindSafe(async move { service.oneshot(delivery).await });
        let (consumer, waited) = (self.consumer(), self.attempt_timeout);
        let report = || events::Stuck { consumer, waited }.emit();
        match report_if_late(work.catch_unwind(), waited, report).await {
            Ok(Ok(_)) if is_parked && !witness.was_entered() => {
                Err(self.emit_fault(Fault::not_passed_on(), number))
            }
            Ok(Ok(outcome)) => {
                // A layer turned an inner error into success. Accepting that would lose the message.
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

    /// Decides to park a delivery without an attempt if no handler may or can take it.
    fn park_without_attempt(&self, delivery: &Delivery) -> Option<ParkDecision> {
        let message = delivery.message();
        if let Some(problem) = &message.unreadable {
            let text = format!("the message cannot be read as it was sent: {problem}");
            return Some(self.limits.unreadable(text, message.key.is_some()));
        }
        if message.message_id.is_none() {
            let text = "its publisher set no AMQP message-id";
            return Some(ParkDecision::dead(Reason::NoId, text.to_owned()));
        }
        let type_name = delivery.type_name();
        if !self.router.handles(type_name) {
            return Some(Limits::unhandled(type_name, message.key.is_some()));
        }
        // The broker's count includes redeliveries after connections that this process lost and survived.
        let lost = self.connections_lost.load(Ordering::Relaxed);
        let deliveries = message.delivery_count.saturating_sub(lost);
        (deliveries >= self.limits.max_crashes)
            .then(|| self.limits.crashed(deliveries, message.key.is_some()))
    }
}

/// Waits for an answer without a limit; calls `report` once if the answer takes longer than `limit`.
async fn report_if_late<T>(
    answer: impl Future<Output = T>,
    limit: Duration,
    report: impl FnOnce(),
) -> T {
    let mut answer = pin!(answer);
    if let Ok(answer) = timeout(limit, &mut answer).await {
        return answer;
    }
    report();
    answer.await
}

/// Creates the span of a delivery, which contains all of its log lines.
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

/// Runs a delivery from the queue in its span: see [`Engine::deliver`].
pub(crate) async fn deliver(
    engine: Arc<Engine>,
    delivery: Delivery,
    start: BatchStart,
    ended: CancellationToken,
) -> Settlement {
    let span = span(engine.consumer(), &delivery);
    engine
        .deliver(&delivery, start, &ended)
        .instrument(span)
        .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::report_if_late;

    #[tokio::test]
    async fn a_late_answer_is_reported_and_still_awaited() {
        let (sender, receiver) = oneshot::channel();
        let report = || sender.send("late").unwrap();
        let answer = report_if_late(receiver, Duration::from_millis(1), report).await;
        assert_eq!(answer.unwrap(), "late");
        let panics = || panic!("reported");
        assert_eq!(report_if_late(async { 1 }, Duration::MAX, panics).await, 1);
    }
}
