//! Handing messages out.

use std::sync::Arc;

use super::{Machine, key::Entry, machine::Batch};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Lets a row be handed out.
    pub(super) fn make_ready(&mut self, entry: Entry<M>) {
        if self.stays_parked(&entry) {
            return self.leave_parked(&entry);
        }
        self.unresponsive_ready |= self.isolation.is_unresponsive(&entry.row.topic);
        self.ready.insert(entry.row.position, entry);
    }

    /// Takes up to `most` messages to publish, oldest first. One under suspicion goes alone, and topics
    /// in doubt have batches of their own.
    pub fn next_batch(&mut self, most: usize) -> Batch<M> {
        let mut batch = Vec::with_capacity(most.min(self.ready.len()));
        if self.suspect.is_some() {
            return batch;
        }
        if !self.isolation.is_empty() || self.winding_down.is_some() {
            return self.next_restricted_batch(most);
        }
        let number = self.isolation.number();
        while batch.len() < most {
            let Some(first) = self.ready.first_entry() else {
                break;
            };
            if first.get().closures > 0 {
                if batch.is_empty() {
                    let position = *first.key();
                    return self.next_suspect(position);
                }
                break;
            }
            let (position, mut entry) = first.remove_entry();
            batch.push(Arc::clone(&entry.row));
            entry.batch = number;
            self.in_flight.insert(position, entry);
        }
        batch
    }

    /// As [`Machine::next_batch`], while not all may go together: messages of one topic in doubt, or of none,
    /// and only those within the scope.
    fn next_restricted_batch(&mut self, most: usize) -> Batch<M> {
        if let Some(position) = self.suspect_in_turn() {
            return self.next_suspect(position);
        }
        let within = self.scope().of(&self.ready);
        let innocents = within.take_while(|(_, entry)| entry.closures == 0);
        let topics = innocents.clone().map(|(_, entry)| &entry.row.topic);
        let number = self.isolation.number();
        let most_isolated = self.settings.isolated_batches;
        let apart = self.isolation.next(number, topics, most_isolated);
        let goes = |entry: &Entry<M>| match &apart {
            Some(topic) => entry.row.topic == *topic,
            None => !self.isolation.contains(&entry.row.topic),
        };
        let rows = innocents.filter(|(_, entry)| goes(entry)).take(most);
        let positions: Vec<Position> = rows.map(|(position, _)| *position).collect();
        let hand_out = |position| {
            let mut entry = self.ready.remove(&position)?;
            let row = Arc::clone(&entry.row);
            entry.batch = number;
            self.in_flight.insert(position, entry);
            Some(row)
        };
        positions.into_iter().filter_map(hand_out).collect()
    }

    /// The first message under suspicion, once it may go.
    fn suspect_in_turn(&self) -> Option<Position> {
        let within = self.scope().of(&self.ready);
        let suspect = within.clone().find(|(_, entry)| entry.closures > 0);
        let (&position, _) = suspect?;
        // Messages of topics in doubt may come back before it again and again.
        let must_repeat = |(_, entry): (_, &Entry<M>)| self.isolation.contains(&entry.row.topic);
        let mut before = within.take_while(|(row, _)| **row < position);
        let is_first = before.clone().next().is_none();
        (is_first || (self.in_flight.is_empty() && before.all(must_repeat))).then_some(position)
    }

    /// Whether a batch, just handed out, is one that a topic in doubt has for itself.
    pub fn is_isolated(&self, batch: &Batch<M>) -> bool {
        let first = batch.first();
        let first = first.and_then(|row| self.in_flight.get(&row.position));
        first.is_some_and(|entry| self.isolation.is_isolated(&entry.row.topic, entry.batch))
    }

    /// Takes a message that is under suspicion, as soon as nothing else is in flight.
    fn next_suspect(&mut self, position: Position) -> Batch<M> {
        let mut batch = Batch::new();
        if self.in_flight.is_empty()
            && let Some(mut entry) = self.ready.remove(&position)
        {
            self.suspect = Some(position);
            entry.batch = self.isolation.number();
            batch.push(Arc::clone(&entry.row));
            self.in_flight.insert(position, entry);
        }
        batch
    }

    /// Whether there are messages that may be handed out. [`Machine::next_batch`] may hold them back until
    /// others are settled.
    pub fn has_ready(&self) -> bool {
        self.scope().of(&self.ready).next().is_some()
    }
}
