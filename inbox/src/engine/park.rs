//! Parking a delivery from the queue.

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Engine, Settlement};
use crate::{Delivery, Outcome, decision::ParkDecision, transaction};

impl Engine {
    /// Parks a delivery from the queue, retrying while the database is unavailable, until `ended` is cancelled.
    pub(super) async fn park(
        &self,
        delivery: &Delivery,
        decision: &ParkDecision,
        ended: &CancellationToken,
    ) -> Settlement {
        let mut tries = 0_u32;
        loop {
            match transaction::park(&self.settings, delivery, decision).await {
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
                () = sleep(self.limits.outage.wait(tries.saturating_add(1))) => tries += 1,
            }
        }
    }
}
