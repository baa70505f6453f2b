//! Choice of the messages for the next batch.

use std::sync::Arc;

use super::{Machine, key::Entry, machine::Batch};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Makes a row ready to be handed out.
    pub(super) fn make_ready(&mut self, entry: Entry<M>) {
        self.unresponsive_ready |= self.isolation.is_unresponsive(&entry.row.topic);
        self.ready.insert(entry.row.position, entry);
    }

    /// Takes up to `max` messages to publish, oldest first. A suspect message goes alone, and
    /// isolated topics have separate batches.
    pub fn next_batch(&mut self, max: usize) -> Batch<M> {
        let mut batch = Vec::with_capacity(max.min(self.ready.len()));
        if self.suspect.is_some() {
            return batch;
        }
        if !self.isolation.is_empty() {
            return self.next_batch_by_topic(max);
        }
        let number = self.isolation.number();
        while batch.len() < max {
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

    /// Like [`Machine::next_batch`], while topics are isolated: the batch holds messages of one
    /// isolated topic, or of topics that are not isolated.
    fn next_batch_by_topic(&mut self, max: usize) -> Batch<M> {
        if let Some(position) = self.sendable_suspect() {
            return self.next_suspect(position);
        }
        let ready = self.ready.iter();
        let before_suspect = ready.take_while(|(_, entry)| entry.closures == 0);
        let topics = before_suspect.clone().map(|(_, entry)| &entry.row.topic);
        let number = self.isolation.number();
        let max_isolated = self.settings.isolated_batches;
        let isolated_topic = self.isolation.assign(number, topics, max_isolated);
        let belongs = |entry: &Entry<M>| match &isolated_topic {
            Some(topic) => entry.row.topic == *topic,
            None => !self.isolation.contains(&entry.row.topic),
        };
        let rows = before_suspect.filter(|(_, entry)| belongs(entry)).take(max);
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

    /// Returns the first suspect message, once it may be sent.
    fn sendable_suspect(&self) -> Option<Position> {
        let suspect = self.ready.iter().find(|(_, entry)| entry.closures > 0);
        let (&position, _) = suspect?;
        // Messages of isolated topics may be requeued again and again: the suspect does not wait
        // for them.
        let is_isolated = |(_, entry): (_, &Entry<M>)| self.isolation.contains(&entry.row.topic);
        let mut before = self.ready.range(..position);
        let is_first = before.clone().next().is_none();
        (is_first || (self.in_flight.is_empty() && before.all(is_isolated))).then_some(position)
    }

    /// Returns `true` if a batch, just handed out, holds messages of one isolated topic only.
    pub fn is_isolated(&self, batch: &Batch<M>) -> bool {
        let first = batch.first();
        let first = first.and_then(|row| self.in_flight.get(&row.position));
        first.is_some_and(|entry| self.isolation.is_isolated(&entry.row.topic, entry.batch))
    }

    /// Takes a suspect message, as soon as nothing else is in flight.
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

    /// Returns `true` if there are messages that may be handed out. [`Machine::next_batch`] may
    /// hold them back until others are settled.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}
