//! The end of a session that nobody hurries.

use std::collections::BTreeMap;

use super::{
    key::{Entry, Place},
    machine::Machine,
};
use crate::capture::Position;

/// What may still be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Scope {
    /// Everything.
    #[default]
    All,
    /// Rows of frames up to this one, if to any, and the parked rows in memory, which may stand before them.
    UpTo(Option<Place>),
}

impl Scope {
    /// Those that may still be handed out, oldest first.
    pub(super) fn of<M>(
        self,
        ready: &BTreeMap<Position, Entry<M>>,
    ) -> impl Iterator<Item = (&Position, &Entry<M>)> + Clone {
        ready.iter().filter(move |(_, entry)| match self {
            Self::All => true,
            Self::UpTo(last) => entry.place() <= last,
        })
    }
}

impl<M> Machine<M> {
    /// Hands out no more than what stands before something that is settled or in flight.
    ///
    /// The watermark cannot pass a row that is neither delivered nor parked: whoever takes over from it
    /// would publish again what was delivered above. With one key slow, that may be thousands.
    pub fn wind_down(&mut self) {
        let mut settled = self.tracks.iter().rev();
        let settled = settled.find_map(|track| Some((track.id, track.last_settled()?)));
        let in_flight = self.in_flight.values().filter_map(Entry::place).max();
        self.scope = Scope::UpTo(settled.max(in_flight));
    }
}
