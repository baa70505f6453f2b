//! The task that acknowledges settled deliveries, many with one frame where possible.
//!
//! One acknowledgement for many deliveries is cheaper for this process, its client library and the
//! broker than one for each. A delivery that is settled but not acknowledged is delivered again after
//! a crash, and dropped as a duplicate; so waiting a few milliseconds loses nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use amqp::Channel;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::acks::Acks;
use crate::events;

/// Shortest time between two sends while fewer than `batch` deliveries are settled.
const PAUSE: Duration = Duration::from_millis(5);

/// Longest wait for an acknowledgement to be sent.
const SEND: Duration = Duration::from_secs(5);

/// Acknowledges a channel's settled deliveries until all senders of `settled` are dropped.
pub(super) struct Acknowledging {
    pub(super) channel: Channel,
    pub(super) consumer: Arc<str>,
    /// Tags of settled deliveries.
    pub(super) settled: mpsc::UnboundedReceiver<u64>,
    /// Number of settled deliveries that are acknowledged without a wait: with more unacknowledged, the
    /// prefetch limit could keep the broker from sending.
    pub(super) batch: usize,
    /// Number of deliveries whose acknowledgement was sent, or waits only for earlier ones.
    pub(super) acknowledged: Arc<AtomicU64>,
}

impl Acknowledging {
    pub(super) async fn run(mut self) {
        let mut acks = Acks::default();
        let mut tags = Vec::new();
        let mut next_at = Instant::now();
        let mut open = true;
        while open {
            if !acks.waits() {
                open = self.settled.recv_many(&mut tags, usize::MAX).await > 0;
            }
            while open && tags.len() < self.batch {
                tokio::select! {
                    biased;
                    more = self.settled.recv_many(&mut tags, usize::MAX) => open = more > 0,
                    () = sleep_until(next_at) => break,
                }
            }
            self.send(&mut acks, &tags).await;
            self.acknowledged.fetch_add(tags.len() as u64, Relaxed);
            tags.clear();
            next_at = Instant::now() + PAUSE;
        }
        // Sends the acknowledgements that wait for earlier tags.
        self.send(&mut acks, &[]).await;
    }

    async fn send(&self, acks: &mut Acks, tags: &[u64]) {
        for ack in acks.settle(tags) {
            let sending = self.channel.acknowledge(ack.tag, ack.multiple);
            let sent = timeout(SEND, sending).await;
            if !matches!(sent, Ok(Ok(()))) {
                let consumer = &self.consumer;
                events::Unacknowledged { consumer }.emit();
            }
        }
    }
}
