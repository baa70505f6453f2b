//! The machine's counters, compared with its contents.

use super::world::{Recording, World};

impl World {
    pub(super) fn check_counters(&self) {
        let write = match &self.recording {
            Recording::None => None,
            Recording::Sent(write, _) | Recording::Durable(write, _) => Some(write),
        };
        self.machine.check_counters(write);
    }
}
