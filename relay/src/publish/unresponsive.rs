//! Parking of messages whose topics are unresponsive.

use std::{collections::HashSet, sync::Arc};

use super::{Machine, Reason, key::Entry};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Returns `true` if there are topics that the broker leaves unanswered while it answers
    /// others.
    pub fn has_unresponsive(&self) -> bool {
        self.isolation.has_unresponsive()
    }

    /// Parks the ready messages of unresponsive topics. In memory they would hold the watermark and
    /// fill the window in the end, and everything would wait with them. Returns their number,
    /// without the rows parked behind them.
    ///
    /// Of the messages that were parked before, one of each topic stays ready, to be tried, unless
    /// rows of its key in memory wait behind it.
    pub fn park_unresponsive(&mut self) -> usize {
        if !std::mem::take(&mut self.unresponsive_ready) {
            return 0;
        }
        let mut kept_topics = HashSet::new();
        let mut must_park = |entry: &Entry<M>| {
            let topic = &entry.row.topic;
            let key = entry.row.key.as_ref().and_then(|key| self.keys.get(key));
            let holds_none =
                key.is_none_or(|state| state.from_frames == 0 && state.pending_parks.is_empty());
            entry.closures == 0
                && self.isolation.is_unresponsive(topic)
                && !(entry.was_parked()
                    && holds_none
                    && !self.isolation.has_batch_in_flight(topic)
                    && kept_topics.insert(Arc::clone(topic)))
        };
        let to_park = self.ready.iter().filter(|(_, entry)| must_park(entry));
        let to_park: Vec<Position> = to_park.map(|(position, _)| *position).collect();
        for position in &to_park {
            if let Some(entry) = self.ready.remove(position) {
                let detail = "the broker answers others, but none of its topic".to_owned();
                self.fail(&entry, Reason::Nacked, detail);
                self.release_key(&entry);
            }
        }
        to_park.len()
    }
}
