//! Invariants of the simulated world: after every event, and at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{message::Harm, world::World};
use crate::capture::Position;

impl World {
    /// Checks that the window is bounded. Only requested pages and due rows may exceed it.
    pub(super) fn check_bounds(&self) {
        assert!(self.machine.rows() <= self.settings.window_rows);
        for (key, state) in self.machine.keys().iter() {
            let pages = self.page_rows;
            let waiting = state.waiting().count();
            assert!(
                waiting <= self.settings.key_rows + pages,
                "{key} fills the window with {waiting}"
            );
        }
    }

    /// Checks that at most one message of a key is in flight. Scheduled messages have left their
    /// order.
    pub(super) fn check_one_in_flight_per_key(&self) {
        let mut keys = BTreeSet::new();
        for position in self.batches.iter().flatten() {
            let message = &self.outbox[position];
            if message.is_ordered() {
                assert!(keys.insert(&message.key), "two of {:?}", message.key);
            }
        }
    }

    fn is_settled(&self, position: Position) -> bool {
        self.confirmed.contains(&position)
            || self.dropped.contains(&position)
            || self.outbox[&position].is_expired(self.now)
    }

    /// Checks that the committed watermark passed only rows that are delivered, dropped or parked.
    pub(super) fn check_watermark(&self) {
        let (done, current) = self.frames.split_at(self.checkpoint.finished);
        let watermark = self.checkpoint.watermark;
        let passed = current.first().into_iter().flatten();
        let passed = passed.filter(|&&position| position <= watermark);
        for position in done.iter().flatten().chain(passed) {
            let parked = self.table.rows.contains_key(position);
            assert!(
                parked || self.is_settled(*position),
                "{position} was passed over"
            );
        }
    }

    /// Checks that no row is published again whose delivery is recorded: the watermark has passed
    /// the row, and it is not parked.
    pub(super) fn check_not_recorded(&self, batch: &[Position]) {
        let (done, current) = self.frames.split_at(self.checkpoint.finished);
        let watermark = self.checkpoint.watermark;
        for position in batch.iter().filter(|row| self.confirmed.contains(row)) {
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
        let (_, to_come) = self.frames.split_at(self.checkpoint.finished);
        for (number, frame) in to_come.iter().enumerate() {
            for position in frame {
                let passed = number == 0 && *position <= self.checkpoint.watermark;
                let repeats = !passed && self.seen_confirmed.get(position) == Some(&false);
                assert!(!repeats, "{position} would be published again");
            }
        }
        for position in self.table.rows.keys() {
            let repeats = self.seen_confirmed.contains_key(position);
            let locked = self.locked.contains(position);
            assert!(!repeats || locked, "{position} would be tried again");
        }
    }

    pub(super) fn check_in_the_end(&self) {
        assert!(self.machine.is_idle());
        assert_eq!(self.machine.held_keys(), 0);
        assert_eq!(self.checkpoint.finished, self.frames.len());
        assert_eq!(self.machine.keys().iter().count(), 0, "keys are forgotten");
        assert!(self.machine.parked_in_progress().is_empty());
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
