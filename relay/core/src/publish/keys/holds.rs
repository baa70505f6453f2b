//! Holds of a key's parked rows on the rows that follow.

use std::sync::Arc;

/// The rows that must wait behind a parked row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// No rows: the parked row has no key, or has left its key's order.
    Nothing,
    /// Rows of the same key and topic. No queue is bound to the topic, so rows of other topics go
    /// on.
    Topic,
    /// All rows of the key.
    Key,
}

impl Hold {
    /// Name in `outbox.parked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Topic => "topic",
            Self::Key => "key",
        }
    }
}

/// Combined hold of a key's parked rows on the rows that follow.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// `true` if all rows of the key must wait.
    key: bool,
    /// Topics whose rows must wait.
    topics: Topics,
}

impl Holds {
    pub(super) fn add(&mut self, hold: Hold, topic: &Arc<str>) {
        match hold {
            Hold::Nothing => {}
            Hold::Topic => self.topics.insert(topic),
            Hold::Key => self.key = true,
        }
    }

    /// Keeps the holds on these topics alone.
    pub(super) fn reset(&mut self, topics: Topics) {
        *self = Self { key: false, topics };
    }

    /// Returns the hold that a new row of the topic must wait for, if any.
    pub(super) fn hold_for(&self, topic: &Arc<str>) -> Option<Hold> {
        if self.key {
            Some(Hold::Key)
        } else {
            self.topic_hold_for(topic)
        }
    }

    /// Like [`Holds::hold_for`], but ignores a hold on the whole key.
    pub(super) fn topic_hold_for(&self, topic: &Arc<str>) -> Option<Hold> {
        self.topics.contains(topic).then_some(Hold::Topic)
    }

    pub(super) const fn is_empty(&self) -> bool {
        !self.key && self.topics.is_empty()
    }
}

/// Set of topics, kept as a vector. Each held key has one, mostly with one topic or none: a hash
/// set would take twice the memory.
#[derive(Debug, Default)]
pub(super) struct Topics(Vec<Arc<str>>);

impl Topics {
    pub(super) fn insert(&mut self, topic: &Arc<str>) {
        if !self.contains(topic) {
            self.0.reserve_exact(1);
            self.0.push(Arc::clone(topic));
        }
    }

    pub(super) fn contains(&self, topic: &Arc<str>) -> bool {
        self.0.contains(topic)
    }

    pub(super) fn to_vec(&self) -> Vec<Arc<str>> {
        self.0.clone()
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
