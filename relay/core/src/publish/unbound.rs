//! Topics to which no queue is bound. Each is reported once, until a queue takes one of its
//! messages.

use std::{collections::HashSet, sync::Arc};

use foldhash::fast::RandomState;

/// Most topics remembered. Messages of further topics are counted and parked like the rest, but not
/// reported.
const MAX_TOPICS: usize = 1_000;

/// Topics whose messages were returned.
#[derive(Debug, Default)]
pub(super) struct Unbound {
    known: HashSet<Arc<str>, RandomState>,
    unreported: Vec<Arc<str>>,
}

impl Unbound {
    /// Records that no queue took a message.
    pub(super) fn returned(&mut self, topic: &Arc<str>) {
        if self.known.len() < MAX_TOPICS && self.known.insert(Arc::clone(topic)) {
            self.unreported.push(Arc::clone(topic));
        }
    }

    /// Records that a queue took a message.
    pub(super) fn routed(&mut self, topic: &Arc<str>) {
        if !self.known.is_empty() {
            self.known.remove(topic);
        }
    }

    /// Takes the topics that have not been reported yet.
    pub(super) fn take_new(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.unreported)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MAX_TOPICS, Unbound};

    #[test]
    fn a_topic_is_reported_once_until_a_queue_takes_its_message() {
        let mut unbound = Unbound::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        unbound.returned(&a);
        unbound.returned(&a);
        assert_eq!(unbound.take_new(), [Arc::clone(&a)]);
        unbound.returned(&a);
        unbound.routed(&b);
        assert_eq!(unbound.take_new(), []);
        unbound.routed(&a);
        unbound.returned(&b);
        unbound.returned(&a);
        assert_eq!(unbound.take_new(), [b, a]);
    }

    #[test]
    fn topics_beyond_the_limit_are_not_remembered() {
        let mut unbound = Unbound::default();
        for number in 0..2 * MAX_TOPICS {
            unbound.returned(&number.to_string().into());
        }
        assert_eq!(unbound.take_new().len(), MAX_TOPICS);
    }
}
