//! A graceful stop: what is still sent.

use super::{
    key::Entry,
    machine::Machine,
    scope::{Scope, WindDown},
};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Hands out, from now on, only what stands before something that is settled or in flight.
    ///
    /// The watermark cannot pass a row that is neither delivered nor parked: whoever takes over from it
    /// would publish again what was delivered above. With one key slow, that may be thousands. Parked
    /// rows in memory hold nothing up, and stay in the table as they are.
    pub fn wind_down(&mut self) {
        let mut windows = self.windows.iter().rev();
        let settled = windows.find_map(|window| Some((window.id, window.last_settled()?)));
        self.winding_down = Some(WindDown { settled });
        // Pages under way are left as they are, also those that are still to come.
        for state in self.keys.values_mut() {
            state.scan.stopped = true;
        }
        let parked = self.ready.iter().filter(|(_, entry)| entry.was_parked());
        let parked: Vec<Position> = parked.map(|(position, _)| *position).collect();
        for position in parked {
            if let Some(entry) = self.ready.remove(&position) {
                self.leave_parked(&entry);
            }
        }
    }

    /// What may be handed out now. A row that came back unanswered no longer counts as in flight.
    pub(super) fn scope(&self) -> Scope {
        match &self.winding_down {
            None => Scope::All,
            Some(under_way) => {
                let in_flight = self.in_flight.values().filter_map(Entry::order).max();
                Scope::Before(under_way.settled.max(in_flight))
            }
        }
    }

    /// Whether a row stays in the table for the next session, if it is to be handed out.
    pub(super) fn stays_parked(&self, entry: &Entry<M>) -> bool {
        self.winding_down.is_some() && entry.was_parked()
    }

    /// Lets go of a parked row, which stays in the table as it is.
    pub(super) fn leave_parked(&mut self, entry: &Entry<M>) {
        self.parked_in_hand.remove(&entry.row.position);
        self.release(entry);
        self.pass_on(entry);
    }

    /// Notes that a row is done.
    pub(super) fn note_done(&mut self, entry: &Entry<M>) {
        if let Some(under_way) = &mut self.winding_down {
            under_way.settled = under_way.settled.max(entry.order());
        }
    }
}
