//! The machine's counters, compared with its contents.

use std::sync::Arc;

use super::world::{Recording, World};
use crate::{
    capture::Position,
    publish::{
        frame_window::FrameWindow,
        key::{Entry, KeyState, PendingPark},
    },
};

impl World {
    pub(super) fn check_counters(&self) {
        let machine = &self.machine;
        let waiting = machine.keys.values().flat_map(|state| &state.waiting);
        let all = || self.ready_or_in_flight().chain(waiting.clone());
        assert_eq!(machine.rows, all().count());
        assert_eq!(
            machine.bytes,
            all().map(|entry| entry.row.bytes).sum::<usize>()
        );
        for (key, state) in &machine.keys {
            self.check_key(key, state);
        }
        let pending_parks = machine.keys.values().map(|state| state.pending_parks.len());
        let from_frames = all().filter(|entry| !entry.was_parked()).count();
        let open = machine
            .windows
            .iter()
            .map(FrameWindow::unsettled_rows)
            .sum::<usize>();
        assert_eq!(open, pending_parks.sum::<usize>() + from_frames);
    }

    fn ready_or_in_flight(&self) -> impl Iterator<Item = &Entry<Position>> {
        let in_flight = self.machine.in_flight.values();
        self.machine.ready.values().chain(in_flight)
    }

    fn check_key(&self, key: &Arc<str>, state: &KeyState<Position>) {
        let active = self.ready_or_in_flight();
        let active: Vec<_> = active
            .filter(|entry| entry.row.key.as_ref() == Some(key))
            .collect();
        assert_eq!(active.len(), usize::from(state.active));
        let rows = active.into_iter().chain(&state.waiting);
        let orders: Vec<_> = rows.filter_map(Entry::order).collect();
        assert_eq!(orders.len(), state.from_frames);
        assert!(orders.is_sorted(), "{orders:?}");
        let pending_parks: Vec<_> = state.pending_parks.iter().map(PendingPark::order).collect();
        assert!(pending_parks.is_sorted(), "{pending_parks:?}");
        if let Some(pending) = pending_parks.first() {
            let is_needed = orders.first().is_some_and(|first| first < pending);
            assert!(is_needed, "{pending:?} waits for none of {orders:?}");
        }
        let write = match &self.recording {
            Recording::None => None,
            Recording::Sent(write, _) | Recording::Durable(write, _) => Some(write),
        };
        let writes = write.into_iter().chain([&self.machine.writes]);
        let unwritten = writes
            .flat_map(|write| &write.keys)
            .filter(|(_, of)| of == key);
        assert_eq!(unwritten.count(), state.unwritten);
    }
}
