//! The machine's parts, compared with each other.

use std::{collections::HashMap, sync::Arc};

use super::{Machine, PendingWrites};
use crate::{capture::Position, publish::keys::KeyState};

impl<M> Machine<M> {
    /// Returns the number of rows that wait behind the first of each key.
    pub(crate) fn waiting_rows(&self) -> impl Iterator<Item = usize> {
        self.keys.iter().map(|(_, state)| state.waiting().count())
    }

    /// Returns `true` if no page of parked rows is to be requested.
    pub(crate) fn wants_no_page(&self) -> bool {
        self.keys.wants_none()
    }

    /// Returns `true` if a row in flight was parked before.
    pub(crate) fn was_parked(&self, position: Position) -> bool {
        self.sending.in_flight_row(position).was_parked()
    }

    /// Checks all counters. `recording` is the write on its way to the table.
    pub(crate) fn check_counters(&self, recording: Option<&PendingWrites>) {
        let waiting = self.keys.iter().flat_map(|(_, state)| state.waiting());
        let all: Vec<_> = self.sending.entries().chain(waiting).collect();
        let bytes = all.iter().map(|entry| entry.bytes).sum();
        let pending = self.keys.iter().map(|(_, state)| state.pending_parks());
        let from_frames = all.iter().filter(|entry| !entry.was_parked()).count();
        let unsettled = from_frames + pending.sum::<usize>();
        self.window.check(all.len(), bytes, unsettled);

        let writes = recording.into_iter().chain([self.parking.writes()]);
        let mut unwritten: HashMap<&Arc<str>, usize> = HashMap::new();
        for (_, key) in writes.flat_map(PendingWrites::keys) {
            *unwritten.entry(key).or_default() += 1;
        }
        for (key, state) in self.keys.iter() {
            let unwritten = unwritten.get(key).copied().unwrap_or(0);
            self.check_key(key, state, unwritten);
        }
    }

    fn check_key(&self, key: &Arc<str>, state: &KeyState<M>, unwritten: usize) {
        let active = self.sending.entries();
        let active: Vec<_> = active
            .filter(|entry| entry.key.as_ref() == Some(key))
            .collect();
        state.check(&active, unwritten);
    }
}
