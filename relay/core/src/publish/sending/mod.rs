//! Sending: the rows that are ready, and those in flight.

mod batch;
mod isolation;
#[cfg(test)]
mod tests;
mod unresponsive;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{Outcome, Row, Settings, entry::Entry};
use crate::capture::Position;

use isolation::{BatchNumber, IsolatedTopics};

/// Messages to publish together.
pub type Batch<M> = Vec<Arc<Row<M>>>;

/// Times that the broker closes a channel or connection over a message before the message is
/// rejected: once in a batch with others, then alone.
const MAX_CLOSURES: u8 = 3;

/// A row that may be sent, or was.
#[derive(Debug)]
pub(super) struct Ready<M> {
    entry: Entry<M>,
    /// Times that the broker closed a channel or connection over the row's batch. Above zero, the
    /// row is *suspect* and sent alone.
    closures: u8,
    /// Number of the last batch that held the row.
    batch: BatchNumber,
}

impl<M> Ready<M> {
    pub(super) const fn entry(&self) -> &Entry<M> {
        &self.entry
    }
}

/// The rows that are ready or in flight.
#[derive(Debug)]
pub(super) struct Sending<M> {
    ready: BTreeMap<Position, Ready<M>>,
    in_flight: HashMap<Position, Ready<M>, RandomState>,
    /// The suspect row in flight, which is sent alone.
    suspect: Option<Position>,
    isolation: IsolatedTopics,
    /// `true` if messages of unresponsive topics may be ready.
    unresponsive_ready: bool,
}

impl<M> Sending<M> {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            ready: BTreeMap::new(),
            in_flight: HashMap::default(),
            suspect: None,
            isolation: IsolatedTopics::new(settings.isolated_batches),
            unresponsive_ready: false,
        }
    }

    /// Makes a row ready to be handed out.
    pub(super) fn add(&mut self, entry: Entry<M>) {
        let (closures, batch) = (0, 0);
        self.put_back(Ready {
            entry,
            closures,
            batch,
        });
    }

    /// Makes a row ready as before.
    pub(super) fn put_back(&mut self, ready: Ready<M>) {
        self.unresponsive_ready |= self.isolation.is_unresponsive(&ready.entry.topic);
        self.ready.insert(ready.entry.position, ready);
    }

    /// Returns `true` if there are messages that may be handed out. [`Sending::next_batch`] may
    /// hold them back until others are settled.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Number of rows that have been handed out and not settled.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns all rows that are ready or in flight.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<M>> {
        let all = self.ready.values().chain(self.in_flight.values());
        all.map(Ready::entry)
    }

    /// Takes a message that was handed out and has this outcome; `None` if it was not in flight.
    pub(super) fn take(&mut self, position: Position, outcome: &Outcome) -> Option<Ready<M>> {
        let sent = self.in_flight.remove(&position)?;
        self.suspect = self.suspect.filter(|suspect| *suspect != position);
        let topic = &sent.entry.topic;
        self.isolation.settled(topic, sent.batch, outcome);
        Some(sent)
    }

    /// Makes a message ready again without its suspicion, since it was left without a confirm.
    pub(super) fn requeue_overdue(&mut self, mut sent: Ready<M>) {
        if std::mem::take(&mut sent.closures) > 0 {
            self.clear_closures(&sent.entry.topic);
        }
        self.put_back(sent);
    }

    /// Makes a message with an unknown outcome ready again. Returns the message and the broker's
    /// error text if the broker has closed too many channels over it.
    pub(super) fn requeue(
        &mut self,
        mut sent: Ready<M>,
        blame: Option<String>,
    ) -> Option<(Entry<M>, String)> {
        sent.closures = blame.as_ref().map_or(0, |_| sent.closures + 1);
        let rejected = blame.filter(|_| sent.closures >= MAX_CLOSURES);
        if let Some(detail) = rejected {
            return Some((sent.entry, detail));
        }
        self.put_back(sent);
        None
    }

    /// Clears the suspicion of a topic's ready messages. Sent one by one, they would wait for a
    /// queue that does not answer, and everything else with each of them.
    fn clear_closures(&mut self, topic: &Arc<str>) {
        let all = self.ready.values_mut();
        for ready in all.filter(|ready| &ready.entry.topic == topic) {
            ready.closures = 0;
        }
    }
}
