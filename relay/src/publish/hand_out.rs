//! Handing messages out.

use std::sync::Arc;

use super::{Machine, key::Entry, machine::Batch};
use crate::capture::Position;

impl<M> Machine<M> {
    /// Lets a row be handed out.
    pub(super) fn make_ready(&mut self, entry: Entry<M>) {
        self.stuck_ready |= self.doubt.is_stuck(&entry.row.topic);
        self.ready.insert(entry.row.position, entry);
    }

    /// Takes up to `most` messages to publish, oldest first. One under suspicion goes alone, and topics
    /// in doubt have batches of their own.
    pub fn next_batch(&mut self, most: usize) -> Batch<M> {
        let mut batch = Vec::with_capacity(most.min(self.ready.len()));
        if self.suspect.is_some() {
            return batch;
        }
        if !self.doubt.is_empty() {
            return self.next_batch_in_doubt(most);
        }
        let number = self.doubt.number();
        while batch.len() < most {
            let Some(first) = self.ready.first_entry() else {
                break;
            };
            if first.get().strikes > 0 {
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

    /// As [`Machine::next_batch`], while there are topics in doubt: messages of one of them, or of none.
    fn next_batch_in_doubt(&mut self, most: usize) -> Batch<M> {
        let innocent = |entry: &Entry<M>| entry.strikes == 0;
        let suspect = self.ready.iter().find(|(_, entry)| !innocent(entry));
        if let Some((&position, _)) = suspect {
            let mut before = self.ready.range(..position);
            let is_first = before.clone().next().is_none();
            // Messages of topics in doubt may come back before it again and again.
            let in_doubt = |(_, entry): (_, &Entry<M>)| self.doubt.contains(&entry.row.topic);
            if is_first || (self.in_flight.is_empty() && before.all(in_doubt)) {
                return self.next_suspect(position);
            }
        }
        let innocents = self.ready.iter().take_while(|(_, entry)| innocent(entry));
        let topics = innocents.clone().map(|(_, entry)| &entry.row.topic);
        let number = self.doubt.number();
        let most_apart = self.settings.batches_apart;
        let apart = self.doubt.next(number, topics, most_apart);
        let goes = |entry: &Entry<M>| match &apart {
            Some(topic) => entry.row.topic == *topic,
            None => !self.doubt.contains(&entry.row.topic),
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

    /// Whether a batch, just handed out, is one that a topic in doubt has for itself.
    pub fn is_apart(&self, batch: &Batch<M>) -> bool {
        let first = batch.first();
        let first = first.and_then(|row| self.in_flight.get(&row.position));
        first.is_some_and(|entry| self.doubt.is_apart(&entry.row.topic, entry.batch))
    }

    /// Takes a message that is under suspicion, as soon as nothing else is in flight.
    fn next_suspect(&mut self, position: Position) -> Batch<M> {
        let mut batch = Batch::new();
        if self.in_flight.is_empty()
            && let Some(mut entry) = self.ready.remove(&position)
        {
            self.suspect = Some(position);
            entry.batch = self.doubt.number();
            batch.push(Arc::clone(&entry.row));
            self.in_flight.insert(position, entry);
        }
        batch
    }

    /// Whether messages wait to be handed out. [`Machine::next_batch`] may hold them back.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}
