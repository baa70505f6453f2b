//! One unit of a worker's work: deliveries that start at the same time, until each is acknowledged or left
//! unacknowledged.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    Delivery,
    engine::{self, BatchStart, Engine, Settlement},
    group::Group,
};

/// A delivery from the queue.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) receipt: Receipt,
    /// Cancelled when the delivery's channel ends: the broker delivers the message again on another channel.
    pub(super) ended: CancellationToken,
}

/// Handle that acknowledges a delivery on the channel that it arrived on.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) tag: u64,
    pub(super) settled: mpsc::UnboundedSender<u64>,
}

impl Receipt {
    fn acknowledge(self) {
        // Fails if the channel is gone; the broker then delivers the message again.
        let _ = self.settled.send(self.tag);
    }
}

/// Runs deliveries to their ends. Several deliveries share a transaction if they can.
///
/// Calls `key_ended` with each key when the key's last delivery has ended.
pub(super) async fn run(engine: &Arc<Engine>, jobs: Vec<Job>, key_ended: impl Fn(String)) {
    let key_ended = &key_ended;
    let most = jobs.len();
    let keys: Vec<Option<String>> = jobs
        .iter()
        .map(|job| job.delivery.message().key.clone())
        .collect();
    let (group, slots) = if most == 1 {
        (None, vec![None])
    } else {
        let (group, slots) = Group::new(keys.clone());
        (Some(group), slots.into_iter().map(Some).collect())
    };
    let mut before = HashMap::new();
    let mut works = Vec::with_capacity(most);
    let last_indices = last_indices(&keys);
    for (index, ((job, key), slot)) in jobs.into_iter().zip(keys).zip(slots).enumerate() {
        let (settled, behind) = oneshot::channel();
        let start = BatchStart {
            slot,
            predecessor: key.clone().and_then(|key| before.insert(key, behind)),
        };
        let engine = Arc::clone(engine);
        let last = last_indices.contains(&index);
        works.push(async move {
            let settlement = engine::deliver(engine, job.delivery, start, job.ended).await;
            if settlement == Settlement::Acknowledge {
                job.receipt.acknowledge();
                // Releases the next delivery of the key, if there is one.
                let _ = settled.send(());
            }
            if let (Some(key), true) = (key, last) {
                key_ended(key);
            }
        });
    }
    drop(before);
    let shared = async {
        if let Some(group) = group {
            group.run(&engine.settings, &engine.router).await;
        }
    };
    tokio::join!(shared, join_all(works));
}

/// Returns the index of the last delivery of each key.
fn last_indices(keys: &[Option<String>]) -> HashSet<usize> {
    let keyed = keys
        .iter()
        .enumerate()
        .filter_map(|(i, key)| Some((key.as_ref()?, i)));
    keyed.collect::<HashMap<_, _>>().into_values().collect()
}
