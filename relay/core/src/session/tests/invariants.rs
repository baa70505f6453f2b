//! Invariants of the simulated world: after every event, and at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    message::Harm,
    world::{Recording, World},
};
use crate::capture::Position;

impl World {
    /// Checks that the window is bounded. Only requested pages and due rows may exceed it.
    pub(super) fn check_bounds(&self) {
        let machine = self.core.machine();
        assert!(machine.rows() <= self.settings.window_rows);
        for waiting in machine.waiting_rows() {
            let most = self.settings.key_rows + self.page_rows;
            assert!(waiting <= most, "a key fills the window with {waiting}");
        }
    }

    /// Checks that at most one message of a key is in flight. Scheduled messages have left their
    /// order.
    pub(super) fn check_one_in_flight_per_key(&self) {
        let mut keys = BTreeSet::new();
        for position in self.batches.iter().flat_map(|(_, batch)| batch) {
            let message = &self.outbox[position];
            if message.is_ordered() {
                assert!(keys.insert(&message.key), "two of {:?}", message.key);
            }
        }
    }

    /// Checks that a crash of the database can no longer take back any of these rows (G2).
    pub(super) fn check_durable(&self, batch: &[Position]) {
        for position in batch {
            let durable = self.durable.contains(position);
            assert!(durable, "{position} may still be taken back");
        }
    }

    /// Checks the machine's counters.
    pub(super) fn check_counters(&self) {
        let write = match &self.recording {
            Recording::None => None,
            Recording::Sent(_, write) | Recording::Durable(write, _) => Some(write),
        };
        self.core.machine().check_counters(write);
    }

    fn is_settled(&self, position: Position) -> bool {
        self.confirmed.contains(&position)
            || self.dropped.contains(&position)
            || self.outbox[&position].is_expired(self.now)
    }

    /// Checks that the committed watermark passed only rows that are delivered, dropped or parked.
    pub(super) fn check_watermark(&self) {
        let (done, current) = self.frames.split_at(self.finished());
        let watermark = self.watermark();
        let passed = current.first().into_iter().flatten();
        let passed = passed.filter(|&&position| position <= watermark);
        for position in done.iter().flatten().chain(passed) {
            let parked = self.table.rows.contains_key(position);
            assert!(
                parked || self.is_settled(*position),
                "{position} was passed over"
            );
            let recorded = self.table.dropped.contains(position);
            assert!(
                parked || recorded || self.confirmed.contains(position),
                "the drop of {position} is not recorded"
            );
        }
    }

    /// Checks that no row is published whose drop is recorded.
    pub(super) fn check_not_dropped(&self, batch: &[Position]) {
        for position in batch {
            let dropped = self.table.dropped.contains(position);
            assert!(!dropped, "{position} is recorded as dropped");
        }
    }

    /// Checks that no row is published again whose delivery is recorded: the watermark has passed
    /// the row, and it is not parked. A row that an operator discards after a poll has read it may
    /// still be published.
    pub(super) fn check_not_recorded(&self, batch: &[Position]) {
        let (done, current) = self.frames.split_at(self.finished());
        let watermark = self.watermark();
        let seen = batch.iter().filter(|row| self.confirmed.contains(row));
        for position in seen.filter(|row| !self.dropped.contains(row)) {
            let current = current.first().filter(|_| *position <= watermark);
            let mut passed = done.iter().chain(current).flatten();
            let recorded =
                passed.any(|row| row == position) && !self.table.rows.contains_key(position);
            assert!(!recorded, "{position} is published again");
        }
    }

    /// Checks that the next relay publishes nothing again that this relay saw confirmed, except
    /// rows that were parked out of a frame that is to be read again.
    pub(super) fn check_nothing_repeats(&self) {
        let (_, to_come) = self.frames.split_at(self.finished());
        for (number, frame) in to_come.iter().enumerate() {
            for position in frame {
                let passed = number == 0 && *position <= self.watermark();
                let repeats = !passed && self.seen_confirmed.get(position) == Some(&false);
                assert!(!repeats, "{position} would be published again");
            }
        }
        for position in self.table.rows.keys() {
            let repeats = self.seen_confirmed.contains_key(position);
            assert!(
                !repeats || self.left_locked,
                "{position} would be tried again"
            );
        }
    }

    pub(super) fn check_in_the_end(&self) {
        let machine = self.core.machine();
        assert!(machine.is_idle());
        assert_eq!(machine.held_keys(), 0);
        assert_eq!(self.finished(), self.frames.len());
        assert_eq!(machine.waiting_rows().count(), 0, "keys are forgotten");
        assert!(machine.parked_in_progress().is_empty());
        for (&position, message) in &self.outbox {
            assert!(self.is_settled(position), "{position} is lost");
            if message.harm != Harm::None {
                assert!(!self.confirmed.contains(&position));
            }
            if self.confirmed.contains(&position) {
                let seen = |queue: &Vec<Position>| queue.contains(&position);
                assert!(self.broker.queues.iter().any(seen), "{position} is nowhere");
            }
        }
        self.check_order();
    }

    /// Checks that each queue first receives a key's messages in order: over all topics bound to it
    /// from the start, and within a topic that was bound later and then stayed so.
    fn check_order(&self) {
        for (queue, seen) in self.broker.queues.iter().enumerate() {
            let mut highest: BTreeMap<(Arc<str>, Option<Arc<str>>), Position> = BTreeMap::new();
            let mut first_seen = BTreeSet::new();
            for &position in seen {
                let message = &self.outbox[&position];
                let Some(stable) = self.broker.stable_bindings.get(&message.topic) else {
                    continue;
                };
                // After a crash, messages dropped by a policy may be read again.
                let fits = message.is_ordered()
                    && stable.queues.contains(&queue)
                    && !self.dropped.contains(&position);
                let (true, Some(key)) = (fits, message.key.clone()) else {
                    continue;
                };
                let topic = (!stable.from_start).then(|| Arc::clone(&message.topic));
                if first_seen.insert(position) {
                    let last = highest.entry((key, topic)).or_insert(0);
                    assert!(
                        *last < position,
                        "queue {queue} saw {position} after {last}"
                    );
                    *last = position;
                }
            }
        }
    }
}
