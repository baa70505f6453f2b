//! Topics that are sent in separate batches because a confirm was overdue.
//!
//! A quorum queue without a majority answers nothing, and RabbitMQ 3.10 reads no further on a new
//! channel that publishes to such a queue: all other messages of the batch wait too. So once a
//! message is left without a confirm, its topic is *isolated*: its messages go in batches without
//! other topics, one batch at a time, until the broker gives any answer to a message of the topic.
//!
//! An isolated topic is *unresponsive* if messages of others were confirmed while its batch became
//! overdue. Its messages are then parked. While nothing is confirmed, as when a disk hangs, no
//! topic is unresponsive: all wait for the same cause.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use crate::publish::Outcome;

/// Number of a batch, in the order of handing out.
pub(super) type BatchNumber = u64;

/// The topics that are isolated.
#[derive(Debug)]
pub(super) struct IsolatedTopics {
    /// Most isolated batches in flight at once.
    max_batches: usize,
    topics: HashMap<Arc<str>, IsolatedTopic, RandomState>,
    /// Number of the last batch that was handed out, isolated or not.
    last: BatchNumber,
    /// Number of messages confirmed so far.
    confirms: u64,
}

#[derive(Debug, Default)]
struct IsolatedTopic {
    /// Number of isolated batches that became overdue.
    timeouts: u32,
    /// The isolated batch in flight. A batch from before the isolation may be in flight too.
    in_flight: Option<IsolatedBatch>,
    unresponsive: bool,
}

#[derive(Debug)]
struct IsolatedBatch {
    number: BatchNumber,
    /// Number of messages confirmed before the batch was handed out.
    confirms: u64,
}

impl IsolatedTopic {
    fn has_in_flight(&self, batch: BatchNumber) -> bool {
        let in_flight = self.in_flight.as_ref();
        in_flight.is_some_and(|in_flight| in_flight.number == batch)
    }
}

impl IsolatedTopics {
    pub(super) fn new(max_batches: usize) -> Self {
        Self {
            max_batches,
            topics: HashMap::default(),
            last: 0,
            confirms: 0,
        }
    }

    pub(super) fn contains(&self, topic: &Arc<str>) -> bool {
        self.topics.contains_key(topic)
    }

    /// Returns the number of the next batch.
    pub(super) const fn number(&mut self) -> BatchNumber {
        self.last += 1;
        self.last
    }

    /// Assigns the batch to one of `topics`: of the isolated ones without a batch in flight, to the
    /// first among those with the fewest overdue batches. Returns `None` if there is no such topic,
    /// or if as many isolated batches are in flight as may be.
    pub(super) fn assign<'a>(
        &mut self,
        batch: BatchNumber,
        topics: impl Iterator<Item = &'a Arc<str>>,
    ) -> Option<Arc<str>> {
        let all = self.topics.values();
        let in_flight = all.filter(|isolated| isolated.in_flight.is_some()).count();
        if in_flight >= self.max_batches || in_flight == self.topics.len() {
            return None;
        }
        let idle = topics.filter_map(|topic| {
            let isolated = self.topics.get(topic)?;
            isolated
                .in_flight
                .is_none()
                .then_some((isolated.timeouts, topic))
        });
        let (_, topic) = idle.min_by_key(|(timeouts, _)| *timeouts)?;
        let confirms = self.confirms;
        self.topics.get_mut(topic)?.in_flight = Some(IsolatedBatch {
            number: batch,
            confirms,
        });
        Some(Arc::clone(topic))
    }

    /// Returns `true` if the batch is the topic's isolated batch.
    pub(super) fn is_isolated(&self, topic: &Arc<str>, batch: BatchNumber) -> bool {
        let isolated = self.topics.get(topic);
        isolated.is_some_and(|isolated| isolated.has_in_flight(batch))
    }

    /// Returns `true` while an isolated batch of the topic is in flight.
    pub(super) fn has_batch_in_flight(&self, topic: &Arc<str>) -> bool {
        let isolated = self.topics.get(topic);
        isolated.is_some_and(|isolated| isolated.in_flight.is_some())
    }

    pub(super) fn is_unresponsive(&self, topic: &Arc<str>) -> bool {
        self.topics
            .get(topic)
            .is_some_and(|isolated| isolated.unresponsive)
    }

    pub(super) fn has_unresponsive(&self) -> bool {
        self.topics.values().any(|isolated| isolated.unresponsive)
    }

    /// Records the outcome of a message of the batch.
    pub(super) fn settled(&mut self, topic: &Arc<str>, batch: BatchNumber, outcome: &Outcome) {
        match outcome {
            Outcome::Confirmed => {
                // Confirms of unroutable messages do not count: the broker sends them even while its
                // disk hangs.
                self.confirms += 1;
                self.answered(topic);
            }
            Outcome::Unroutable | Outcome::Nacked => self.answered(topic),
            Outcome::Overdue => self.overdue(topic, batch),
            Outcome::Rejected(_) | Outcome::Expired | Outcome::Unsent => {
                self.unanswered(topic, batch);
            }
            Outcome::Unknown { .. } => {
                self.unanswered(topic, batch);
                self.channel_lost();
            }
        }
    }

    /// Records that a message of the batch was left without a confirm.
    fn overdue(&mut self, topic: &Arc<str>, batch: BatchNumber) {
        let isolated = self.topics.entry(Arc::clone(topic)).or_default();
        // Counts the batch once: its other messages find no batch in flight.
        let in_flight = &mut isolated.in_flight;
        if let Some(overdue) = in_flight.take_if(|in_flight| in_flight.number == batch) {
            isolated.timeouts += 1;
            isolated.unresponsive |= self.confirms > overdue.confirms;
        }
    }

    /// Records that a message of the batch ended without an answer of the broker.
    fn unanswered(&mut self, topic: &Arc<str>, batch: BatchNumber) {
        if let Some(isolated) = self.topics.get_mut(topic) {
            let in_flight = &mut isolated.in_flight;
            in_flight.take_if(|in_flight| in_flight.number == batch);
        }
    }

    /// Records an answer of the broker to a message: its topic is no longer isolated.
    fn answered(&mut self, topic: &Arc<str>) {
        if !self.topics.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Records the loss of a channel or the connection: no topic counts as unresponsive until
    /// others are answered again.
    fn channel_lost(&mut self) {
        for isolated in self.topics.values_mut() {
            isolated.unresponsive = false;
        }
    }
}
