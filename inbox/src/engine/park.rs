//! Parking a delivery from the queue.

use postroom_message::errors::chain;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Engine, Settlement};
use crate::{Delivery, Outcome, parked, policy::ParkDecision, server_error};

impl Engine {
    /// Parks a delivery from the queue, retrying while the database is unavailable, until `ended` is cancelled. If the
    /// database refuses to store the message, parks dead what it can store: topic, key and body.
    pub(super) async fn park(
        &self,
        delivery: &Delivery,
        decision: &ParkDecision,
        ended: &CancellationToken,
    ) -> Settlement {
        let mut tries = 0_u32;
        let mut stripped = None;
        loop {
            let (delivery, decision) = stripped
                .as_ref()
                .map_or((delivery, decision), |(delivery, decision)| {
                    (delivery, decision)
                });
            match parked::park(&self.settings, delivery, decision).await {
                Ok(outcome) => {
                    self.emit_outcome(outcome);
                    if decision.is_dead() && outcome != Outcome::Duplicate {
                        self.emit_dead(decision);
                    }
                    return Settlement::Acknowledge;
                }
                Err(error) if stripped.is_none() && server_error::is_data_refused(&error) => {
                    let problem = format!("the database cannot store it: {}", chain(&error));
                    let delivery = delivery.stripped(&problem);
                    let in_order = delivery.message().key.is_some();
                    stripped = Some((delivery, self.limits.unreadable(problem, in_order)));
                    continue;
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
