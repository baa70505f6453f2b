//! Simulated `outbox.parked` and `outbox.dropped`, changed only by committed writes and by operators.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use super::message::{Message, Time};
use crate::{
    capture::Position,
    publish::{Due, Hold, KeyRequest, Park, PendingWrites, Reason},
};

#[derive(Debug, Clone)]
pub(super) struct Parked {
    pub(super) message: Message,
    pub(super) reason: Reason,
    pub(super) hold: Hold,
    pub(super) attempts: u32,
    due: Option<u64>,
    pub(super) discarded: bool,
}

/// Hold of a key's parked rows of one topic.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) hold: Hold,
    /// `true` if the first row waits for a row that is gone.
    pub(super) orphaned: bool,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: BTreeMap<Position, Parked>,
    ever: BTreeSet<Position>,
    /// Rows of `outbox.dropped`.
    pub(super) dropped: BTreeSet<Position>,
}

impl Table {
    /// Commits a write as its one statement does: each part sees the rows that were there before.
    pub(super) fn commit(
        &mut self,
        write: &PendingWrites,
        locked: &[Position],
        outbox: &BTreeMap<Position, Message>,
        now: u64,
    ) {
        let new: Vec<&Park> = write
            .parks
            .iter()
            .filter(|park| !self.rows.contains_key(&park.position))
            .collect();
        let drops = write.drops.iter().map(|row| row.position);
        self.dropped.extend(drops);
        for drop in &write.parked_drops {
            let position = drop.position;
            assert!(write.forgets.contains(&position), "{position} stays parked");
            if !locked.contains(&position) && self.rows.contains_key(&position) {
                self.dropped.insert(position);
            }
        }
        for position in &write.forgets {
            assert!(self.ever.contains(position), "{position} was never parked");
            if !locked.contains(position) {
                self.rows.remove(position);
            }
        }
        for park in &write.reschedules {
            let position = park.position;
            assert!(self.ever.contains(&position), "{position} was never parked");
            if let Some(row) = self.rows.get_mut(&position)
                && !locked.contains(&position)
            {
                *row = parked(row.message.clone(), park, now);
            }
        }
        for park in new {
            let message = outbox[&park.position].clone();
            self.rows.insert(park.position, parked(message, park, now));
            assert!(
                park.reason != Reason::Behind || park.hold != Hold::Nothing,
                "{} would never be read again",
                park.position
            );
            self.ever.insert(park.position);
        }
    }

    /// Returns the rows of a write that are locked.
    pub(super) fn locked_of(
        &self,
        write: &PendingWrites,
        locked: &BTreeSet<Position>,
    ) -> Vec<Position> {
        let rows = write.parked_positions().into_iter();
        rows.filter(|row| locked.contains(row) && self.rows.contains_key(row))
            .collect()
    }

    /// Returns a page of a key's rows, and `true` if it is full.
    pub(super) fn page(&self, request: &KeyRequest, limit: usize, now: u64) -> (Vec<Parked>, bool) {
        let page: Vec<Parked> = self
            .rows
            .range((Bound::Excluded(request.after), Bound::Unbounded))
            .map(|(_, row)| row)
            .filter(|row| row.message.key.as_ref() == Some(&request.key))
            .filter(|row| row.hold != Hold::Nothing)
            .filter(|row| {
                let is_expired = row.discarded || row.message.is_expired(now);
                is_expired || !request.without.contains(&row.message.topic)
            })
            .take(limit)
            .cloned()
            .collect();
        let full = page.len() == limit;
        (page, full)
    }

    pub(super) fn due(&self, now: u64) -> Vec<Parked> {
        let due = |row: &&Parked| row.due.is_some_and(|due| due <= now);
        self.rows.values().filter(due).cloned().collect()
    }

    pub(super) fn held(&self) -> Vec<Held> {
        let mut groups: BTreeMap<(Arc<str>, Arc<str>), Held> = BTreeMap::new();
        for row in self.rows.values() {
            let Some(key) = row.message.key.clone() else {
                continue;
            };
            let topic = Arc::clone(&row.message.topic);
            if row.hold != Hold::Nothing {
                let group = (Arc::clone(&key), Arc::clone(&topic));
                let held = groups.entry(group).or_insert(Held {
                    key,
                    topic,
                    hold: Hold::Topic,
                    orphaned: row.reason == Reason::Behind,
                });
                if row.hold == Hold::Key {
                    held.hold = Hold::Key;
                }
            }
        }
        groups.into_values().collect()
    }

    pub(super) fn nth(&self, index: usize) -> Option<Position> {
        let count = self.rows.len().max(1);
        self.rows.keys().nth(index % count).copied()
    }

    /// Makes a row due at once, as an operator does.
    pub(super) fn revive(&mut self, position: Position, now: u64) {
        if let Some(row) = self.rows.get_mut(&position) {
            row.due = Some(now);
        }
    }

    /// Discards a row, as an operator does: it expires at once. The machine remembers the row's hold, and must read the
    /// row to learn that it is gone.
    pub(super) fn discard(&mut self, position: Position, now: u64) {
        if let Some(row) = self.rows.get_mut(&position) {
            (row.discarded, row.due) = (true, Some(now));
        }
    }
}

fn parked(message: Message, park: &Park, now: u64) -> Parked {
    let due = match (park.due, message.time) {
        (Due::In(wait), _) => Some(now + wait.as_millis() as u64),
        (Due::AsScheduled, Time::After(at)) => Some(at),
        (Due::AsScheduled | Due::Never, _) => None,
    };
    Parked {
        message,
        reason: park.reason,
        hold: park.hold,
        attempts: park.attempts,
        due,
        discarded: false,
    }
}
