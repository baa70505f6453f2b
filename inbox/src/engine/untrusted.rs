//! Deliveries of publishers whom the consumer does not trust.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Engine, Settlement};
use crate::{
    Delivery, Outcome,
    decision::ParkDecision,
    events,
    transaction::{self, Kept},
};

/// Time for which the table counts as full after it was found full. Until then deliveries cost no transaction.
const FULL: Duration = Duration::from_secs(10);

/// Largest delivery that is kept, in bytes of its body and texts: what is kept is bounded in all.
const LARGEST: usize = 1 << 20;

/// Shortest time between two log lines about dropped deliveries.
const LOG: Duration = Duration::from_mins(1);

/// Limit of the untrusted deliveries that are kept, and what is known of it.
#[derive(Debug)]
pub(crate) struct UntrustedLimit {
    keep: u32,
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    /// Time at which the table was last found full.
    full: Option<Instant>,
    /// Time of the last log line.
    logged: Option<Instant>,
}

impl UntrustedLimit {
    /// Default of the number of deliveries that are kept.
    pub(crate) const DEFAULT: u32 = 1_000;

    pub(crate) fn new(keep: u32) -> Self {
        Self {
            keep,
            times: Mutex::default(),
        }
    }

    fn is_full(&self) -> bool {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.full.is_some_and(|at| at.elapsed() < FULL)
    }

    fn found_full(&self) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.full = Some(Instant::now());
    }

    /// Returns `true` if a log line is due, and counts it as written.
    fn may_log(&self) -> bool {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = times.logged.is_none_or(|at| at.elapsed() >= LOG);
        if is_due {
            times.logged = Some(Instant::now());
        }
        is_due
    }
}

impl Engine {
    /// Returns the decision to refuse a delivery; `None` if its publisher is trusted.
    pub(crate) fn refusal(&self, delivery: &Delivery) -> Option<ParkDecision> {
        self.trust.refusal(delivery.message().user_id.as_deref())
    }

    /// Parks a delivery of an untrusted publisher, or drops it if enough are kept or it is too large. Retries while
    /// the database is unavailable, until `ended` is cancelled.
    pub(super) async fn refuse(
        &self,
        delivery: &Delivery,
        decision: &ParkDecision,
        ended: &CancellationToken,
    ) -> Settlement {
        let mut tries = 0_u32;
        while bytes(delivery) <= LARGEST && !self.untrusted.is_full() {
            let keep = self.untrusted.keep;
            match transaction::keep_untrusted(&self.settings, delivery, decision, keep).await {
                Ok(Kept::Yes) => {
                    self.emit_outcome(Outcome::Parked(decision.reason));
                    self.emit_dead(decision);
                    return Settlement::Acknowledge;
                }
                Ok(Kept::Full) => {
                    self.untrusted.found_full();
                    continue;
                }
                Err(error) => self.emit_unavailable("parking an untrusted message", &error),
            }
            tokio::select! {
                () = ended.cancelled() => return Settlement::Redeliver,
                () = sleep(self.limits.outage.wait(tries.saturating_add(1))) => tries += 1,
            }
        }
        events::UntrustedDropped {
            consumer: self.consumer(),
            error: decision.error.as_deref(),
            kept: self.untrusted.keep,
            is_logged: self.untrusted.may_log(),
        }
        .emit();
        Settlement::Acknowledge
    }
}

/// Returns the approximate size of a delivery's row.
fn bytes(delivery: &Delivery) -> usize {
    let message = delivery.message();
    let texts = [
        &message.message_id,
        &message.source,
        &message.key,
        &message.type_name,
        &message.correlation_id,
        &message.causation_id,
        &message.traceparent,
        &message.tracestate,
        &message.reply_to,
        &message.in_reply_to,
        &message.unreadable,
    ];
    let texts = texts.into_iter().flatten().map(String::len);
    let headers = message.headers.iter();
    let headers = headers.map(|(name, value)| name.len() + value.to_text().len());
    delivery.received_body().len() + texts.chain(headers).sum::<usize>()
}
