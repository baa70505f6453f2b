//! A worker's task: deliveries that start together, until each is acknowledged or left.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{Acker, options::BasicAckOptions};
use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;

use super::acks::Acks;
use crate::{
    Delivery,
    engine::{self, Engine, Settled, Turn},
    events,
    group::Group,
};

/// Longest wait for an acknowledgement to be sent.
const ACKNOWLEDGE: Duration = Duration::from_secs(5);

/// A delivery from the queue.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) receipt: Receipt,
    /// Cancelled when its channel ends: the delivery comes again by another.
    pub(super) ended: CancellationToken,
}

/// What acknowledges a delivery, on the channel that it came by.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) acker: Acker,
    pub(super) tag: u64,
    /// Those of the channel. Locked while they are sent: their order matters.
    pub(super) acks: Arc<Mutex<Acks>>,
}

/// Runs deliveries to their ends. Several share a transaction, if they can.
///
/// Tells of each key when its last delivery has ended.
pub(super) async fn run(engine: &Arc<Engine>, jobs: Vec<Job>, key_ended: impl Fn(String)) {
    let key_ended = &key_ended;
    let most = jobs.len();
    let keys: Vec<Option<String>> = jobs
        .iter()
        .map(|job| job.delivery.message().key.clone())
        .collect();
    let (group, places) = if most == 1 {
        (None, vec![None])
    } else {
        let (group, places) = Group::new(keys.clone());
        (Some(group), places.into_iter().map(Some).collect())
    };
    let mut before = HashMap::new();
    let works = FuturesUnordered::new();
    let lasts = lasts(&keys);
    for (index, ((job, key), place)) in jobs.into_iter().zip(keys).zip(places).enumerate() {
        let (settled, behind) = oneshot::channel();
        let turn = Turn {
            place,
            before: key.clone().and_then(|key| before.insert(key, behind)),
        };
        let engine = Arc::clone(engine);
        let last = lasts.contains(&index);
        works.push(async move {
            let become_of = engine::deliver(engine, job.delivery, turn, job.ended).await;
            if become_of == Settled::Acknowledge {
                // The next one of its key waits for this, if there is one.
                let _ = settled.send(());
            }
            if let (Some(key), true) = (key, last) {
                key_ended(key);
            }
            (become_of == Settled::Acknowledge).then_some(job.receipt)
        });
    }
    drop(before);
    let consumer = Arc::clone(&engine.settings.consumer);
    let acknowledged = async {
        let mut ready = works.ready_chunks(most);
        while let Some(settled) = ready.next().await {
            acknowledge(&consumer, settled.into_iter().flatten().collect()).await;
        }
    };
    let shared = async {
        if let Some(group) = group {
            group.run(&engine.settings, &engine.router).await;
        }
    };
    tokio::join!(shared, acknowledged);
}

/// Places of the last delivery of each key.
fn lasts(keys: &[Option<String>]) -> HashSet<usize> {
    let keyed = keys
        .iter()
        .enumerate()
        .filter_map(|(i, key)| Some((key.as_ref()?, i)));
    keyed.collect::<HashMap<_, _>>().into_values().collect()
}

/// Acknowledges deliveries, each on its channel.
async fn acknowledge(consumer: &str, mut receipts: Vec<Receipt>) {
    while let Some(first) = receipts.first() {
        let acks = Arc::clone(&first.acks);
        let (same, others) = receipts
            .into_iter()
            .partition(|receipt| Arc::ptr_eq(&receipt.acks, &acks));
        receipts = others;
        if tokio::time::timeout(ACKNOWLEDGE, send(&acks, same)).await != Ok(true) {
            events::Unacknowledged { consumer }.emit();
        }
    }
}

/// Sends the acknowledgements of one channel's deliveries.
async fn send(acks: &Mutex<Acks>, receipts: Vec<Receipt>) -> bool {
    let ackers: HashMap<u64, Acker> = receipts
        .into_iter()
        .map(|receipt| (receipt.tag, receipt.acker))
        .collect();
    let tags: Vec<u64> = ackers.keys().copied().collect();
    let mut sent = true;
    let mut acks = acks.lock().await;
    for ack in acks.settle(&tags) {
        let options = BasicAckOptions {
            multiple: ack.multiple,
        };
        if let Some(acker) = ackers.get(&ack.tag) {
            // A clone of the channel would not be safe to publish on; acknowledging is.
            sent &= matches!(acker.ack(options).await, Ok(true));
        }
    }
    sent
}
