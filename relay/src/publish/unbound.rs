//! Topics that no queue is bound to: told once, until a queue takes one of their messages.

use std::{collections::HashSet, sync::Arc};

use foldhash::fast::RandomState;

/// Most topics that are remembered. What comes above is not told, but counted and parked like the rest.
const MOST: usize = 1_000;

/// Topics whose messages came back.
#[derive(Debug, Default)]
pub(super) struct Unbound {
    known: HashSet<Arc<str>, RandomState>,
    news: Vec<Arc<str>>,
}

impl Unbound {
    /// Notes that no queue took a message.
    pub(super) fn returned(&mut self, topic: &Arc<str>) {
        if self.known.len() < MOST && self.known.insert(Arc::clone(topic)) {
            self.news.push(Arc::clone(topic));
        }
    }

    /// Notes that a queue took one.
    pub(super) fn taken(&mut self, topic: &Arc<str>) {
        if !self.known.is_empty() {
            self.known.remove(topic);
        }
    }

    /// Takes what has not been told yet.
    pub(super) fn news(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.news)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{MOST, Unbound};

    #[test]
    fn a_topic_is_told_once_until_a_queue_takes_one_of_it() {
        let mut unbound = Unbound::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        unbound.returned(&a);
        unbound.returned(&a);
        assert_eq!(unbound.news(), [Arc::clone(&a)]);
        unbound.returned(&a);
        unbound.taken(&b);
        assert_eq!(unbound.news(), []);
        unbound.taken(&a);
        unbound.returned(&b);
        unbound.returned(&a);
        assert_eq!(unbound.news(), [b, a]);
    }

    #[test]
    fn very_many_topics_are_not_remembered() {
        let mut unbound = Unbound::default();
        for number in 0..2 * MOST {
            unbound.returned(&number.to_string().into());
        }
        assert_eq!(unbound.news().len(), MOST);
    }
}
