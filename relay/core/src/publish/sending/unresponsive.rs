//! Messages whose topics are unresponsive.

use std::{collections::HashSet, sync::Arc};

use super::{Ready, Sending};
use crate::{capture::Position, publish::entry::Entry};

impl<M> Sending<M> {
    /// Returns `true` if there are topics that the broker leaves unanswered while it answers
    /// others.
    pub(in crate::publish) fn has_unresponsive(&self) -> bool {
        self.isolation.has_unresponsive()
    }

    /// Takes the ready messages of unresponsive topics, which are to be parked. In memory they
    /// would hold the watermark and fill the window in the end, and everything would wait with them.
    ///
    /// Of the messages that were parked before, one of each topic stays ready, to be tried, unless
    /// rows of its key in memory wait behind it: `holds_rows` returns `true` for such a key.
    pub(in crate::publish) fn take_unresponsive(
        &mut self,
        holds_rows: impl Fn(&Arc<str>) -> bool,
    ) -> Vec<Entry<M>> {
        if !std::mem::take(&mut self.unresponsive_ready) {
            return Vec::new();
        }
        let mut kept_topics = HashSet::new();
        let mut must_park = |ready: &Ready<M>| {
            let (entry, topic) = (&ready.entry, &ready.entry.topic);
            if ready.closures > 0 || !self.isolation.is_unresponsive(topic) {
                return false;
            }
            let may_stay = entry.was_parked()
                && entry.key.as_ref().is_none_or(|key| !holds_rows(key))
                && !self.isolation.has_batch_in_flight(topic);
            !(may_stay && kept_topics.insert(Arc::clone(topic)))
        };
        let to_park = self.ready.iter().filter(|(_, ready)| must_park(ready));
        let to_park: Vec<Position> = to_park.map(|(position, _)| *position).collect();
        let taken = to_park.iter().filter_map(|row| self.ready.remove(row));
        taken.map(|ready| ready.entry).collect()
    }
}
