//! A broker: queues, bindings that come and go, messages that close channels.

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

/// Queues that have been bound to a topic ever since it was bound at all.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    /// Before the first message.
    pub(super) from_start: bool,
    pub(super) queues: BTreeSet<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Broker {
    bound: BTreeSet<(Arc<str>, usize)>,
    full: BTreeSet<usize>,
    /// Queues that do not answer, with what was sent to them since.
    stuck: BTreeMap<usize, Vec<Position>>,
    /// Everything that each queue has seen, in order.
    pub(super) queues: [Vec<Position>; QUEUES],
    pub(super) anchors: BTreeMap<Arc<str>, Anchor>,
    started: bool,
}

impl Broker {
    pub(super) fn new(bindings: &[(Arc<str>, usize)]) -> Self {
        let mut broker = Self::default();
        for (topic, queue) in bindings {
            broker.bound.insert((Arc::clone(topic), *queue));
            let anchor = broker.anchor(topic, true);
            anchor.queues.insert(*queue);
        }
        broker.started = true;
        broker
    }

    fn anchor(&mut self, topic: &Arc<str>, from_start: bool) -> &mut Anchor {
        let queues = BTreeSet::new();
        self.anchors
            .entry(Arc::clone(topic))
            .or_insert(Anchor { from_start, queues })
    }

    pub(super) fn bind(&mut self, topic: &Arc<str>, queue: usize) {
        let first = !self.anchors.contains_key(topic);
        self.bound.insert((Arc::clone(topic), queue));
        if first {
            self.anchor(topic, false).queues.insert(queue);
        }
    }

    pub(super) fn unbind(&mut self, topic: &Arc<str>, queue: usize) {
        if self.bound.remove(&(Arc::clone(topic), queue)) {
            self.anchor(topic, false).queues.remove(&queue);
        }
    }

    pub(super) fn fill(&mut self, queue: usize, full: bool) {
        if full {
            self.full.insert(queue);
        } else {
            self.full.remove(&queue);
        }
    }

    /// Lets a queue fall silent.
    pub(super) fn stick(&mut self, queue: usize) {
        self.stuck.entry(queue).or_default();
    }

    pub(super) fn has_unresponsive(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// Lets a queue answer again; by bits, what had been sent to it meanwhile is there.
    pub(super) fn unstick(&mut self, queue: usize, kept: u8) {
        let waiting = self.stuck.remove(&queue).unwrap_or_default();
        let kept = |(index, _): &(usize, Position)| (kept >> (index % 8)) & 1 == 1;
        let waiting = waiting.into_iter().enumerate().filter(kept);
        self.queues[queue].extend(waiting.map(|(_, position)| position));
    }

    /// Routes a message, and tells what the broker answers.
    pub(super) fn publish(&mut self, message: &Message) -> Outcome {
        match message.harm {
            Harm::TooLarge => return Outcome::Rejected("too large".to_owned()),
            Harm::Closes => unreachable!("its batch has no outcomes of its own"),
            Harm::None => {}
        }
        let mut outcome = Outcome::Unroutable;
        for queue in 0..QUEUES {
            if !self.bound.contains(&(Arc::clone(&message.topic), queue)) {
                continue;
            }
            if let Some(waiting) = self.stuck.get_mut(&queue) {
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

    /// What becomes of a batch; `lost` names those that reached their queues before the channel
    /// was gone, by bits.
    pub(super) fn take(&mut self, batch: &[Message], lost: Option<u8>) -> Vec<Outcome> {
        let closes = batch.iter().any(|message| message.harm == Harm::Closes);
        if !closes && lost.is_none() {
            let outcomes: Vec<_> = batch.iter().map(|message| self.publish(message)).collect();
            if outcomes.contains(&Outcome::Overdue) {
                // Nothing is known of their company either.
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

/// Which of a session's answers fit an outcome.
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
