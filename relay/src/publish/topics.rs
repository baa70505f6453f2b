//! A small set of topics.

use std::sync::Arc;

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

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
