//! Messages for queues that do not answer.

use std::{collections::HashSet, sync::Arc};

use super::{Machine, Reason, key::Entry};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Whether there are topics that the broker does not answer while it answers others.
    pub fn has_unresponsive(&self) -> bool {
        self.isolation.has_unresponsive()
    }

    /// Parks the waiting messages of topics that the broker does not answer while it answers others: or
    /// they would hold the watermark, fill the window in the end, and everything would wait with them.
    /// Returns their number, without those behind them.
    ///
    /// Of those that were parked before, one of each topic stays, to be tried; not one that others in
    /// memory wait behind.
    pub fn park_unresponsive(&mut self) -> usize {
        if !std::mem::take(&mut self.unresponsive_ready) {
            return 0;
        }
        let mut tried = HashSet::new();
        let mut leaves = |entry: &Entry<M>| {
            let topic = &entry.row.topic;
            let key = entry.row.key.as_ref().and_then(|key| self.keys.get(key));
            let alone =
                key.is_none_or(|state| state.from_frames == 0 && state.pending_parks.is_empty());
            entry.closures == 0
                && self.isolation.is_unresponsive(topic)
                && !(entry.was_parked()
                    && alone
                    && !self.isolation.is_tried(topic)
                    && tried.insert(Arc::clone(topic)))
        };
        let leaving = self.ready.iter().filter(|(_, entry)| leaves(entry));
        let leaving: Vec<Position> = leaving.map(|(position, _)| *position).collect();
        for position in &leaving {
            if let Some(entry) = self.ready.remove(position) {
                let detail = "the broker answers others, but none of its topic".to_owned();
                self.fail(&entry, Reason::Nacked, detail);
                self.pass_on(&entry);
            }
        }
        leaving.len()
    }
}
