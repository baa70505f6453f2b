//! Simulated broker: queues, bindings that change, and messages that close channels.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::message::{Harm, Message};
use crate::{
    capture::Position,
    publish::{Outcome, Settled},
};

pub(super) const QUEUES: usize = 3;

/// Queues that have been bound to a topic ever since its first binding.
#[derive(Debug, Clone)]
pub(super) struct StableBindings {
    /// `true` if the topic was bound before the first message.
    pub(super) from_start: bool,
    pub(super) queues: BTreeSet<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Broker {
    bound: BTreeSet<(Arc<str>, usize)>,
    full: BTreeSet<usize>,
    /// Queues that do not answer, with the messages sent to them since.
    silent: BTreeMap<usize, Vec<Position>>,
    /// Messages that each queue has received, in order.
    pub(super) queues: [Vec<Position>; QUEUES],
    pub(super) stable_bindings: BTreeMap<Arc<str>, StableBindings>,
    started: bool,
}

impl Broker {
    pub(super) fn new(bindings: &[(Arc<str>, usize)]) -> Self {
        let mut broker = Self::default();
        for (topic, queue) in bindings {
            broker.bound.insert((Arc::clone(topic), *queue));
            let stable = broker.stable(topic, true);
            stable.queues.insert(*queue);
        }
        broker.started = true;
        broker
    }

    fn stable(&mut self, topic: &Arc<str>, from_start: bool) -> &mut StableBindings {
        let queues = BTreeSet::new();
        self.stable_bindings
            .entry(Arc::clone(topic))
            .or_insert(StableBindings { from_start, queues })
    }

    pub(super) fn bind(&mut self, topic: &Arc<str>, queue: usize) {
        let first = !self.stable_bindings.contains_key(topic);
        self.bound.insert((Arc::clone(topic), queue));
        if first {
            self.stable(topic, false).queues.insert(queue);
        }
    }

    pub(super) fn unbind(&mut self, topic: &Arc<str>, queue: usize) {
        if self.bound.remove(&(Arc::clone(topic), queue)) {
            self.stable(topic, false).queues.remove(&queue);
        }
    }

    pub(super) fn fill(&mut self, queue: usize, full: bool) {
        if full {
            self.full.insert(queue);
        } else {
            self.full.remove(&queue);
        }
    }

    /// Makes a queue stop answering.
    pub(super) fn silence(&mut self, queue: usize) {
        self.silent.entry(queue).or_default();
    }

    pub(super) fn has_silent_queue(&self) -> bool {
        !self.silent.is_empty()
    }

    /// Makes a queue answer again. The bits of `kept` choose the messages sent meanwhile that it
    /// received.
    pub(super) fn resume(&mut self, queue: usize, kept: u8) {
        let waiting = self.silent.remove(&queue).unwrap_or_default();
        let kept = |(index, _): &(usize, Position)| (kept >> (index % 8)) & 1 == 1;
        let waiting = waiting.into_iter().enumerate().filter(kept);
        self.queues[queue].extend(waiting.map(|(_, position)| position));
    }

    /// Routes a message, and returns the broker's answer.
    pub(super) fn publish(&mut self, message: &Message) -> Outcome {
        match message.harm {
            Harm::TooLarge => return Outcome::Rejected("too large".to_owned()),
            Harm::Closes => unreachable!("the outcome is that of its batch"),
            Harm::None => {}
        }
        let mut outcome = Outcome::Unroutable;
        for queue in 0..QUEUES {
            if !self.bound.contains(&(Arc::clone(&message.topic), queue)) {
                continue;
            }
            if let Some(waiting) = self.silent.get_mut(&queue) {
                waiting.push(message.position);
                outcome = Outcome::Overdue;
            } else if self.full.contains(&queue) {
                if outcome != Outcome::Overdue {
                    outcome = Outcome::Nacked;
                }
            } else {
                self.queues[queue].push(message.position);
                if outcome == Outcome::Unroutable {
                    outcome = Outcome::Confirmed;
                }
            }
        }
        outcome
    }

    /// Takes a batch, and returns its outcomes. If the channel is lost, the bits of `lost` choose
    /// the messages that reached their queues before.
    pub(super) fn take(&mut self, batch: &[Message], lost: Option<u8>) -> Vec<Outcome> {
        let closes = batch.iter().any(|message| message.harm == Harm::Closes);
        if !closes && lost.is_none() {
            let outcomes: Vec<_> = batch.iter().map(|message| self.publish(message)).collect();
            if outcomes.contains(&Outcome::Overdue) {
                // The other messages of the batch count as overdue too.
                return vec![Outcome::Overdue; batch.len()];
            }
            return outcomes;
        }
        let reached = lost.unwrap_or(0);
        for (index, message) in batch.iter().enumerate() {
            if message.harm == Harm::None && (reached >> (index % 8)) & 1 == 1 {
                self.publish(message);
            }
        }
        let blame = closes.then(|| "unexpected frame".to_owned());
        vec![Outcome::Unknown { blame }; batch.len()]
    }
}

/// Returns `true` if the machine's decision fits the outcome.
pub(super) fn fits(outcome: &Outcome, settled: Settled) -> bool {
    match outcome {
        Outcome::Confirmed => settled == Settled::Delivered,
        Outcome::Unroutable | Outcome::Nacked | Outcome::Rejected(_) => {
            matches!(settled, Settled::Parked(_) | Settled::Dropped)
        }
        Outcome::Expired => settled == Settled::Dropped,
        Outcome::Unsent => false,
        Outcome::Overdue | Outcome::Unknown { blame: None } => settled == Settled::Requeued,
        Outcome::Unknown { blame: Some(_) } => {
            matches!(settled, Settled::Requeued | Settled::Parked(_))
        }
    }
}
