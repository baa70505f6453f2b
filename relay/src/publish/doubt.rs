//! Topics whose messages are kept apart from others.
//!
//! A quorum queue without a majority answers nothing, and RabbitMQ 3.10 reads no further on a new
//! channel that publishes to one: what shares a batch with such messages waits with them. So a topic
//! of which a message was left without a confirm has batches of its own from then on, one at a time,
//! until the broker answers one, whatever it answers.
//!
//! If it answers others while one of those batches waits in vain, the topic is *stuck*: its messages are
//! parked. Not so while nothing is answered at all, as when a disk hangs: then all wait for the same.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

/// Topics that are kept apart.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    topics: HashMap<Arc<str>, Apart, RandomState>,
}

#[derive(Debug)]
struct Apart {
    /// How often a batch of it was left without confirms.
    times: u32,
    in_flight: bool,
    /// Others were answered since the batch in flight was handed out.
    others_answered: bool,
    stuck: bool,
}

impl Doubt {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(super) fn contains(&self, topic: &Arc<str>) -> bool {
        self.topics.contains_key(topic)
    }

    /// The topic that has the next batch of messages of these topics: of those that failed least often,
    /// the first. None if no topic may have one now, or if `most` have one in flight.
    pub(super) fn next<'a>(
        &mut self,
        topics: impl Iterator<Item = &'a Arc<str>>,
        most: usize,
    ) -> Option<Arc<str>> {
        let under_way = self.topics.values().filter(|apart| apart.in_flight).count();
        if under_way >= most {
            return None;
        }
        let idle = topics.filter_map(|topic| {
            let apart = self.topics.get(topic)?;
            (!apart.in_flight).then_some((apart.times, topic))
        });
        let (_, topic) = idle.min_by_key(|(times, _)| *times)?;
        let apart = self.topics.get_mut(topic)?;
        (apart.in_flight, apart.others_answered) = (true, false);
        Some(Arc::clone(topic))
    }

    pub(super) fn has_stuck(&self) -> bool {
        self.topics.values().any(|apart| apart.stuck)
    }

    /// Whether the broker answers others, and not this one.
    pub(super) fn is_stuck(&self, topic: &Arc<str>) -> bool {
        self.topics.get(topic).is_some_and(|apart| apart.stuck)
    }

    /// Whether a topic in doubt may have a batch.
    pub(super) fn awaits(&self, topic: &Arc<str>) -> bool {
        self.topics.get(topic).is_some_and(|apart| !apart.in_flight)
    }

    /// Notes that a message of a batch was left without a confirm.
    pub(super) fn overdue(&mut self, topic: &Arc<str>) {
        let new = || Apart {
            times: 0,
            in_flight: true,
            others_answered: false,
            stuck: false,
        };
        let apart = self.topics.entry(Arc::clone(topic)).or_insert_with(new);
        // Once for all messages of the batch.
        if std::mem::take(&mut apart.in_flight) {
            apart.times += 1;
            apart.stuck |= apart.others_answered;
        }
    }

    /// Notes that the broker did not get to say what became of a message.
    pub(super) fn unknown(&mut self, topic: &Arc<str>) {
        if let Some(apart) = self.topics.get_mut(topic) {
            apart.in_flight = false;
        }
    }

    /// Notes that the broker said what became of a message.
    pub(super) fn answered(&mut self, topic: &Arc<str>) {
        if self.topics.is_empty() {
            return;
        }
        self.topics.remove(topic);
        for apart in self.topics.values_mut() {
            apart.others_answered = true;
        }
    }
}
