//! A key's counters, compared with its rows.

use super::{Entry, KeyState, PendingPark};

impl<M> KeyState<M> {
    pub(in crate::publish) fn waiting(&self) -> impl Iterator<Item = &Entry<M>> {
        self.waiting.iter()
    }

    /// Returns the number of rows that wait to be parked.
    pub(in crate::publish) fn pending_parks(&self) -> usize {
        self.pending_parks.len()
    }

    /// Checks the counters and the order, given the rows of the key that are ready or in flight and
    /// the number of its records that are not written yet.
    pub(in crate::publish) fn check(&self, active: &[&Entry<M>], unwritten: usize) {
        assert_eq!(active.len(), usize::from(self.active.is_some()));
        let rows = active.iter().copied().chain(&self.waiting);
        let orders: Vec<_> = rows.filter_map(Entry::order).collect();
        assert_eq!(orders.len(), self.from_frames);
        assert!(orders.is_sorted(), "{orders:?}");
        let pending_parks: Vec<_> = self.pending_parks.iter().map(PendingPark::order).collect();
        assert!(pending_parks.is_sorted(), "{pending_parks:?}");
        if let Some(pending) = pending_parks.first() {
            let is_needed = orders.first().is_some_and(|first| first < pending);
            assert!(is_needed, "{pending:?} waits for none of {orders:?}");
        }
        assert_eq!(unwritten, self.unwritten);
    }
}
