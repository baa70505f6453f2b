//! Deliveries that share a transaction.

use std::time::Instant;

use postroom_message::errors::chain;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::{Engine, Settlement};
use crate::{
    Delivery, Outcome, TransactionError,
    decision::{Fault, Next, Progress},
    events,
    transaction::{Shared, Sharing, WorkerConnection, run_shared},
};

/// Reason for a delivery to run alone although the shared transaction has committed.
const KEY_IS_HELD: &str = "an earlier message of its key, or of another one, is parked";

impl Engine {
    /// Runs deliveries from the queue in one transaction. Returns `None` for each that has to run alone: all of
    /// them after any failure.
    pub(crate) async fn deliver_shared(
        &self,
        deliveries: &[&Delivery],
        connection: &mut WorkerConnection,
        ended: &CancellationToken,
    ) -> Vec<Option<Settlement>> {
        let began = Instant::now();
        let spans = deliveries.iter().map(|delivery| self.span(delivery));
        let spans: Vec<Span> = spans.collect();
        let sharing = deliveries.iter().zip(&spans);
        let sharing = sharing.map(|(delivery, span)| Sharing { delivery, span });
        let sharing: Vec<_> = sharing.collect();
        let (settings, router, handlers) = (&self.settings, &self.router, &self.handlers);
        let running = run_shared(settings, connection, router, handlers, &sharing);
        let (results, why_alone) = match self.watch(running).await {
            Ok(Ok(results)) => {
                self.tracker.database_works();
                (results, KEY_IS_HELD.to_owned())
            }
            Ok(Err(error)) => (self.none_shared(&sharing, &chain(&error)), chain(&error)),
            Err(panic) => (self.none_shared(&sharing, &panic), panic),
        };
        let mut settlements = Vec::with_capacity(results.len());
        for (Sharing { delivery, span }, result) in sharing.into_iter().zip(results) {
            let settling = async {
                match result {
                    None => {
                        events::Alone { error: &why_alone }.emit();
                        None
                    }
                    Some(Ok(outcome)) => {
                        if outcome == Outcome::Handled {
                            self.emit_handled("queue", began.elapsed());
                        }
                        self.emit_outcome(outcome);
                        Some(Settlement::Acknowledge)
                    }
                    Some(Err(error)) => self.park_shared(delivery, &error, ended).await,
                }
            };
            settlements.push(settling.instrument(span.clone()).await);
        }
        settlements
    }

    /// Reports a failed shared transaction; no delivery of it has a result.
    fn none_shared(&self, deliveries: &[Sharing<'_>], error: &str) -> Vec<Shared> {
        events::SharedFailed {
            consumer: self.consumer(),
            messages: deliveries.len(),
            error,
        }
        .emit();
        deliveries.iter().map(|_| None).collect()
    }

    /// Parks a delivery whose record is committed although the shared transaction has failed; `None` if it is to
    /// run again.
    async fn park_shared(
        &self,
        delivery: &Delivery,
        error: &TransactionError,
        ended: &CancellationToken,
    ) -> Option<Settlement> {
        let fault = self.emit_fault(Fault::of(error), delivery.attempt());
        let keyed = delivery.message().key.is_some();
        match Progress::queued(&self.limits, keyed).next(&self.limits, fault) {
            Next::Again(_) => None,
            Next::Park(decision) => Some(self.park(delivery, &decision, ended).await),
        }
    }
}
