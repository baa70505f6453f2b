//! The rows in flight, for the simulation.

use super::{Entry, Position, Sending};

impl<M> Sending<M> {
    pub(in crate::publish) fn in_flight_row(&self, position: Position) -> &Entry<M> {
        &self.in_flight[&position].entry
    }
}
