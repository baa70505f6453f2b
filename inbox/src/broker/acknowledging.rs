//! The task that acknowledges: many deliveries at once while many are settled.
//!
//! Each acknowledgement costs this process, its client library and the broker more than one that
//! stands for many. What is settled and not acknowledged comes again after a crash, and is a
//! duplicate then: waiting for a few milliseconds makes that no worse.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, options::BasicAckOptions};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::acks::Acks;
use crate::events;

/// Least time between two sendings while fewer than enough are settled.
const PAUSE: Duration = Duration::from_millis(5);

/// Longest wait for an acknowledgement to be sent.
const SEND: Duration = Duration::from_secs(5);

/// Acknowledges what is settled of a channel's deliveries, until nobody can settle any more.
pub(super) struct Acknowledging {
    pub(super) channel: Channel,
    pub(super) consumer: Arc<str>,
    /// Tags of settled deliveries.
    pub(super) settled: mpsc::UnboundedReceiver<u64>,
    /// So many settled deliveries are acknowledged at once: the broker could run out of others to
    /// send.
    pub(super) enough: usize,
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
            while open && tags.len() < self.enough {
                tokio::select! {
                    biased;
                    more = self.settled.recv_many(&mut tags, usize::MAX) => open = more > 0,
                    () = sleep_until(next_at) => break,
                }
            }
            self.send(&mut acks, &tags).await;
            tags.clear();
            next_at = Instant::now() + PAUSE;
        }
        // What still waits has waited enough.
        self.send(&mut acks, &[]).await;
    }

    async fn send(&self, acks: &mut Acks, tags: &[u64]) {
        for ack in acks.settle(tags) {
            let options = BasicAckOptions {
                multiple: ack.multiple,
            };
            let sent = timeout(SEND, self.channel.basic_ack(ack.tag, options)).await;
            if !matches!(sent, Ok(Ok(()))) {
                let consumer = &self.consumer;
                events::Unacknowledged { consumer }.emit();
            }
        }
    }
}
