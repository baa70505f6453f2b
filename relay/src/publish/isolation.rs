//! Topics whose messages are kept apart from others.
//!
//! A quorum queue without a majority answers nothing, and RabbitMQ 3.10 reads no further on a new
//! channel that publishes to one: what shares a batch with such messages waits with them. So a topic
//! of which a message was left without a confirm has batches of its own from then on, one at a time,
//! until the broker answers one, whatever it answers.
//!
//! If messages of others were confirmed while a batch of its own waited in vain, the topic is *stuck*: its
//! messages are parked. Not so while nothing is confirmed, as when a disk hangs: then all wait for the
//! same.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

/// Number of a batch, in the order of handing out.
pub(super) type BatchNumber = u64;

/// Topics that are kept isolated.
#[derive(Debug, Default)]
pub(super) struct IsolatedTopics {
    topics: HashMap<Arc<str>, IsolatedTopic, RandomState>,
    /// The last batch that was handed out, of any topics.
    last: BatchNumber,
    /// How many messages were confirmed so far.
    confirms: u64,
}

#[derive(Debug, Default)]
struct IsolatedTopic {
    /// How often a batch of its own was left without confirms.
    times: u32,
    /// That batch, while it is in flight. One of before the doubt may be, too.
    in_flight: Option<Flight>,
    unresponsive: bool,
}

#[derive(Debug)]
struct Flight {
    batch: BatchNumber,
    /// How many messages had been confirmed when it was handed out.
    confirms: u64,
}

impl IsolatedTopic {
    fn has_in_flight(&self, batch: BatchNumber) -> bool {
        let flight = self.in_flight.as_ref();
        flight.is_some_and(|flight| flight.batch == batch)
    }
}

impl IsolatedTopics {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(super) fn contains(&self, topic: &Arc<str>) -> bool {
        self.topics.contains_key(topic)
    }

    /// Numbers the next batch.
    pub(super) const fn number(&mut self) -> BatchNumber {
        self.last += 1;
        self.last
    }

    /// The topic that has this batch of messages of these topics: of those that failed least often, the
    /// first. None if no topic may have one now, or if `most` have one in flight.
    pub(super) fn next<'a>(
        &mut self,
        batch: BatchNumber,
        topics: impl Iterator<Item = &'a Arc<str>>,
        most: usize,
    ) -> Option<Arc<str>> {
        let all = self.topics.values();
        let under_way = all.filter(|isolated| isolated.in_flight.is_some()).count();
        if under_way >= most || under_way == self.topics.len() {
            return None;
        }
        let idle = topics.filter_map(|topic| {
            let isolated = self.topics.get(topic)?;
            isolated
                .in_flight
                .is_none()
                .then_some((isolated.times, topic))
        });
        let (_, topic) = idle.min_by_key(|(times, _)| *times)?;
        let confirms = self.confirms;
        self.topics.get_mut(topic)?.in_flight = Some(Flight { batch, confirms });
        Some(Arc::clone(topic))
    }

    /// Whether this batch is one of the topic's own.
    pub(super) fn is_isolated(&self, topic: &Arc<str>, batch: BatchNumber) -> bool {
        let isolated = self.topics.get(topic);
        isolated.is_some_and(|isolated| isolated.has_in_flight(batch))
    }

    /// Whether a topic has a batch of its own in flight.
    pub(super) fn is_tried(&self, topic: &Arc<str>) -> bool {
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

    /// Notes that a message of a batch was left without a confirm.
    pub(super) fn overdue(&mut self, topic: &Arc<str>, batch: BatchNumber) {
        let isolated = self.topics.entry(Arc::clone(topic)).or_default();
        // Once for all messages of the batch.
        if let Some(own) = isolated.in_flight.take_if(|own| own.batch == batch) {
            isolated.times += 1;
            isolated.unresponsive |= self.confirms > own.confirms;
        }
    }

    /// Notes that the broker did not say what it makes of a message.
    pub(super) fn unanswered(&mut self, topic: &Arc<str>, batch: BatchNumber) {
        if let Some(isolated) = self.topics.get_mut(topic) {
            isolated.in_flight.take_if(|own| own.batch == batch);
        }
    }

    /// Notes that the broker said what it makes of a message.
    pub(super) fn answered(&mut self, topic: &Arc<str>) {
        if !self.topics.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Notes that the broker confirmed a message that a queue took. Of one that none took, it would even
    /// while its disk hangs.
    pub(super) fn confirmed(&mut self, topic: &Arc<str>) {
        self.confirms += 1;
        self.answered(topic);
    }

    /// Notes that a channel or the connection is gone: whether others are answered is to be seen again.
    pub(super) fn lost(&mut self) {
        for isolated in self.topics.values_mut() {
            isolated.unresponsive = false;
        }
    }
}
