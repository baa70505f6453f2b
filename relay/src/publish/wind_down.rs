//! Graceful stop: a limit on the rows that are still sent.

use super::{
    key::Entry,
    machine::Machine,
    scope::{Scope, WindDown},
};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Begins a graceful stop: from now on, only rows before one that is settled or in flight are
    /// handed out.
    ///
    /// The watermark cannot pass a row that is neither delivered nor parked, so the next relay
    /// would publish again all that was delivered above such a row. With one slow key, these may be
    /// thousands. Parked rows in memory do not hold the watermark, and stay in the table unchanged.
    pub fn wind_down(&mut self) {
        let mut windows = self.windows.iter().rev();
        let settled = windows.find_map(|window| Some((window.id, window.last_settled()?)));
        self.winding_down = Some(WindDown { settled });
        // Scans in progress leave their rows unchanged, also those of pages still to arrive.
        for state in self.keys.values_mut() {
            state.scan.stopped = true;
        }
        let parked = self.ready.iter().filter(|(_, entry)| entry.was_parked());
        let parked: Vec<Position> = parked.map(|(position, _)| *position).collect();
        for position in parked {
            if let Some(entry) = self.ready.remove(&position) {
                self.unload_parked(&entry);
            }
        }
    }

    /// Returns the rows that may be handed out now. A row that was requeued no longer counts as in
    /// flight.
    pub(super) fn scope(&self) -> Scope {
        match &self.winding_down {
            None => Scope::All,
            Some(wind_down) => {
                let in_flight = self.in_flight.values().filter_map(Entry::order).max();
                Scope::Before(wind_down.settled.max(in_flight))
            }
        }
    }

    /// Returns `true` if a row stays in the table for the next session instead of being handed out.
    pub(super) fn stays_parked(&self, entry: &Entry<M>) -> bool {
        self.winding_down.is_some() && entry.was_parked()
    }

    /// Removes a parked row from memory; it stays in the table unchanged.
    pub(super) fn unload_parked(&mut self, entry: &Entry<M>) {
        self.parked_in_progress.remove(&entry.row.position);
        self.release(entry);
        self.release_key(entry);
    }

    /// Records that a row is delivered or dropped: rows before it may still be sent.
    pub(super) fn note_done(&mut self, entry: &Entry<M>) {
        if let Some(wind_down) = &mut self.winding_down {
            wind_down.settled = wind_down.settled.max(entry.order());
        }
    }
}
