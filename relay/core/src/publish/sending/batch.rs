//! Choice of the messages for the next batch.

use std::sync::Arc;

use super::{Batch, BatchNumber, Ready, Row, Sending};
use crate::capture::Position;

impl<M> Sending<M> {
    /// Takes up to `max` messages to publish, oldest first. A suspect message goes alone, and
    /// isolated topics have separate batches: the messages are of one isolated topic, or of topics
    /// that are not isolated.
    pub(in crate::publish) fn next_batch(&mut self, max: usize) -> Batch<M> {
        if self.suspect.is_some() {
            return Batch::new();
        }
        if let Some(position) = self.sendable_suspect() {
            return self.next_suspect(position);
        }
        let ready = self.ready.iter();
        let before_suspect = ready.take_while(|(_, ready)| ready.closures == 0);
        let topics = before_suspect.clone().map(|(_, ready)| &ready.entry.topic);
        let number = self.isolation.number();
        let isolated_topic = self.isolation.assign(number, topics);
        let belongs = |ready: &Ready<M>| match &isolated_topic {
            Some(topic) => ready.entry.topic == *topic,
            None => !self.isolation.contains(&ready.entry.topic),
        };
        let rows = before_suspect.filter(|(_, ready)| belongs(ready)).take(max);
        let positions: Vec<Position> = rows.map(|(position, _)| *position).collect();
        let hand_out = |position| self.hand_out(position, number);
        positions.into_iter().filter_map(hand_out).collect()
    }

    /// Returns the first suspect message, once it may be sent: messages before it go first.
    fn sendable_suspect(&self) -> Option<Position> {
        // Messages of isolated topics may be requeued again and again: the suspect does not wait
        // for them, once nothing is in flight.
        let goes_first = |ready: &Ready<M>| {
            !self.in_flight.is_empty() || !self.isolation.contains(&ready.entry.topic)
        };
        let mut rows = self.ready.iter();
        let (position, ready) = rows.find(|(_, row)| row.closures > 0 || goes_first(row))?;
        (ready.closures > 0).then_some(*position)
    }

    /// Takes a suspect message, as soon as nothing else is in flight.
    fn next_suspect(&mut self, position: Position) -> Batch<M> {
        if !self.in_flight.is_empty() {
            return Batch::new();
        }
        self.suspect = Some(position);
        let number = self.isolation.number();
        self.hand_out(position, number).into_iter().collect()
    }

    fn hand_out(&mut self, position: Position, batch: BatchNumber) -> Option<Arc<Row<M>>> {
        let mut ready = self.ready.remove(&position)?;
        let row = Arc::clone(ready.entry.row());
        ready.batch = batch;
        self.in_flight.insert(position, ready);
        Some(row)
    }

    /// Returns `true` if a batch, just handed out, holds messages of one isolated topic only.
    pub(in crate::publish) fn is_isolated(&self, batch: &Batch<M>) -> bool {
        let first = batch.first();
        let first = first.and_then(|row| self.in_flight.get(&row.position));
        first.is_some_and(|row| {
            let topic = &row.entry.topic;
            self.isolation.is_isolated(topic, row.batch)
        })
    }
}
