//! Deliveries that a worker runs, until each is acknowledged or left unacknowledged.

use tokio_util::sync::CancellationToken;

use super::source::Receipt;
use crate::{
    Delivery,
    engine::{self, Engine, Settlement},
    transaction::WorkerConnection,
};

/// A delivery with its receipt.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) receipt: Receipt,
    /// Cancelled when the delivery's subscription ends: the source delivers the message again to the next one.
    pub(super) ended: CancellationToken,
}

impl Job {
    fn settle(self, settlement: Settlement) {
        match settlement {
            Settlement::Acknowledge => self.receipt.acknowledge(),
            Settlement::Redeliver => {}
        }
    }
}

/// Runs deliveries: one to its end, or several in one transaction. Returns those that have to run alone.
///
/// Deliveries whose subscription has ended are not started: the source delivers them again, and one of them could
/// overtake an earlier delivery of its key that was left unacknowledged.
pub(super) async fn run(
    engine: &Engine,
    connection: &mut WorkerConnection,
    mut jobs: Vec<Job>,
) -> Vec<Job> {
    jobs.retain(|job| !job.ended.is_cancelled());
    let _in_flight = engine.tracker.handling(jobs.len());
    if jobs.len() == 1
        && let Some(job) = jobs.pop()
    {
        let settlement = engine::deliver(engine, &job.delivery, connection, &job.ended).await;
        job.settle(settlement);
        return jobs;
    }
    let Some(ended) = jobs.first().map(|job| job.ended.clone()) else {
        return jobs;
    };
    let deliveries: Vec<&Delivery> = jobs.iter().map(|job| &job.delivery).collect();
    let settlements = engine.deliver_shared(&deliveries, connection, &ended).await;
    let mut alone = Vec::new();
    for (job, settlement) in jobs.into_iter().zip(settlements) {
        match settlement {
            Some(settlement) => job.settle(settlement),
            None => alone.push(job),
        }
    }
    alone
}
