//! The engine: runs a delivery's attempts until it is handled or parked.

mod admission;
mod park;
mod report;
mod share;
mod single;
mod untrusted;

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
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{Instrument, Span};

pub(crate) use admission::innermost;
pub use admission::{Attempted, DeliveryService};
pub use single::AttemptError;
pub(crate) use untrusted::UntrustedLimit;

use crate::{
    Delivery, HandlerService, Outcome, Reason,
    decision::{Fault, Limits, Next, ParkDecision, Progress, Trust},
    delivery::Origin,
    delivery_span::DeliverySpans,
    events,
    handler::{Knowledge, Router},
    status::Tracker,
    transaction::{Settings, WorkerConnection, dedup_entry, panic_text, run_alone},
};

/// Runs deliveries, both from the queue and parked ones.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    /// The publishers whose messages are handled.
    pub(crate) trust: Trust,
    /// Limit of the messages of other publishers that are kept.
    pub(crate) untrusted: UntrustedLimit,
    /// Copy of the router inside `handlers`, to find types without a handler before the transaction.
    pub(crate) router: Router,
    /// The handlers with the layers around them, called inside transactions.
    pub(crate) handlers: HandlerService,
    /// The admission layers around transactions; `None` if there are none.
    pub(crate) admission: Option<DeliveryService>,
    /// Longest time that an attempt's transaction can take; a longer attempt is reported as stuck.
    pub(crate) attempt_timeout: Duration,
    /// Time for which replies are kept; `None` if they are not kept.
    pub(crate) keep_replies: Option<Duration>,
    pub(crate) spans: DeliverySpans,
    /// State of the consumer, for health checks.
    pub(crate) tracker: Arc<Tracker>,
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

impl Engine {
    pub(crate) fn consumer(&self) -> &str {
        &self.settings.consumer
    }

    /// Makes the span of a delivery.
    pub(crate) fn span(&self, delivery: &Delivery) -> Span {
        self.spans.make(self.consumer(), delivery)
    }

    /// Runs a delivery from the queue until it is handled or parked. After `ended` is cancelled, because the
    /// channel ended or the consumer stops, the current attempt is finished, but no further one is made.
    async fn deliver(
        &self,
        delivery: &Delivery,
        connection: &mut WorkerConnection,
        ended: &CancellationToken,
    ) -> Settlement {
        if let Some(decision) = self.refusal(delivery) {
            return self.refuse(delivery, &decision, ended).await;
        }
        if let Some(decision) = self.park_without_attempt(delivery) {
            return self.park(delivery, &decision, ended).await;
        }
        let mut progress = Progress::queued(&self.limits, delivery.message().key.is_some());
        loop {
            let attempt = delivery.with_attempt(progress.attempt());
            let fault = match self.attempt(&attempt, connection).await {
                Ok(outcome) => {
                    self.emit_outcome(outcome);
                    return Settlement::Acknowledge;
                }
                Err(fault) => fault,
            };
            match progress.next(&self.limits, fault) {
                Next::Again(wait) => tokio::select! {
                    () = ended.cancelled() => return Settlement::Redeliver,
                    () = sleep(wait) => {}
                },
                Next::Park(decision) => return self.park(delivery, &decision, ended).await,
            }
        }
    }

    /// Runs a delivery once, in a transaction of its own.
    pub(crate) async fn attempt(
        &self,
        delivery: &Delivery,
        connection: &mut WorkerConnection,
    ) -> Result<Outcome, Fault> {
        let began = Instant::now();
        let attempt = async {
            if let Some(service) = &self.admission {
                return admission::pass(service.clone(), delivery).await;
            }
            let handlers = self.handlers.clone();
            let handler = |context| async { Ok(handlers.oneshot(context).await?) };
            let running = run_alone(&self.settings, connection, delivery, handler);
            running.await.map_err(|error| Fault::of(&error))
        };
        let result = self.watch(attempt).await.unwrap_or_else(|panic| {
            let text =
                format!("a layer around the handler, or a hook of the pool, panicked: {panic}");
            Err(Fault::outside(text))
        });
        let outcome = result.map_err(|fault| self.emit_fault(fault, delivery.attempt()))?;
        self.tracker.database_works();
        if outcome == Outcome::Handled && !delivery.is_rehearsed() {
            let origin = match delivery.origin() {
                Origin::Queue => "queue",
                Origin::Parked { .. } => "parked",
            };
            self.emit_handled(origin, began.elapsed());
        }
        Ok(outcome)
    }

    /// Waits for an attempt, and reports it once if it takes too long.
    ///
    /// # Errors
    /// Returns the text of a panic outside the handler, such as one in a hook of the pool.
    async fn watch<T>(&self, attempt: impl Future<Output = T>) -> Result<T, String> {
        let (consumer, waited) = (self.consumer(), self.attempt_timeout);
        let report = || events::Stuck { consumer, waited }.emit();
        let attempt = AssertUnwindSafe(attempt).catch_unwind();
        let result = report_if_late(attempt, waited, report).await;
        result.map_err(|panic| panic_text(panic.as_ref()))
    }

    /// Returns `true` if a delivery may share a transaction: it is trusted and needs an attempt, and its id is recorded in the
    /// ring.
    pub(crate) fn can_share(&self, delivery: &Delivery) -> bool {
        self.refusal(delivery).is_none()
            && dedup_entry(delivery).is_some()
            && self.park_without_attempt(delivery).is_none()
    }

    /// Decides to park a delivery without an attempt if no handler may or can take it.
    pub(crate) fn park_without_attempt(&self, delivery: &Delivery) -> Option<ParkDecision> {
        let message = delivery.message();
        if let Some(problem) = &message.unreadable {
            let text = format!("the message cannot be read as it was sent: {problem}");
            return Some(self.limits.unreadable(text, message.key.is_some()));
        }
        if message.message_id.is_none() {
            let text = "its publisher set no AMQP message-id";
            return Some(ParkDecision::dead(Reason::NoId, text.to_owned()));
        }
        match self.router.knows(delivery) {
            Knowledge::Known => {}
            Knowledge::Newer(newest) => {
                return Some(Limits::newer(delivery, newest, message.key.is_some()));
            }
            Knowledge::Unhandled => {
                let type_name = delivery.type_name();
                return Some(Limits::unhandled(type_name, message.key.is_some()));
            }
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

/// Runs a delivery from the queue in its span, until it is handled or parked.
pub(crate) async fn deliver(
    engine: &Engine,
    delivery: &Delivery,
    connection: &mut WorkerConnection,
    ended: &CancellationToken,
) -> Settlement {
    let span = engine.span(delivery);
    engine
        .deliver(delivery, connection, ended)
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
