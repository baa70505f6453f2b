//! Handing messages out, and what becomes of them.

use std::sync::Arc;

use super::{
    Hold, Machine, Outcome, Reason, Settled,
    key::{Entry, Origin},
    machine::Batch,
    write::Due,
};
use crate::capture::Position;

/// Times that the broker may close a channel or connection over a message: once in company, then
/// alone. After that it is the message.
const MOST_STRIKES: u8 = 3;

impl<M> Machine<M> {
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
                    return self.next_suspect();
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
        if !self.ready.values().next().is_some_and(innocent) {
            return self.next_suspect();
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

    /// Takes the first message, which is under suspicion, as soon as nothing else is in flight.
    fn next_suspect(&mut self) -> Batch<M> {
        let mut batch = Batch::new();
        if self.in_flight.is_empty()
            && let Some((position, mut entry)) = self.ready.pop_first()
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

    /// Notes what became of a message that was handed out.
    pub fn settle(&mut self, position: Position, outcome: Outcome) -> Option<Settled> {
        let mut entry = self.in_flight.remove(&position)?;
        self.suspect = self.suspect.filter(|suspect| *suspect != position);
        self.judge_topic(&entry, &outcome);
        let settled = match outcome {
            Outcome::Confirmed => {
                self.finish(&entry);
                Settled::Delivered
            }
            Outcome::Unroutable if self.settings.drop_unroutable.matches(&entry.row.topic) => {
                self.finish(&entry);
                Settled::Dropped
            }
            Outcome::Unroutable => {
                let detail = "no queue is bound to its topic".to_owned();
                self.fail(&entry, Reason::Unroutable, detail)
            }
            Outcome::Nacked => {
                let detail = "the broker refused it: a queue is full or unavailable".to_owned();
                self.fail(&entry, Reason::Nacked, detail)
            }
            Outcome::Rejected(detail) => self.fail(&entry, Reason::Rejected, detail),
            Outcome::Overdue => {
                if std::mem::take(&mut entry.strikes) > 0 {
                    self.acquit(&entry.row.topic);
                }
                self.make_ready(entry);
                return Some(Settled::Requeued);
            }
            Outcome::Unknown { blame } => {
                entry.strikes = blame.as_ref().map_or(0, |_| entry.strikes + 1);
                let Some(detail) = blame.filter(|_| entry.strikes >= MOST_STRIKES) else {
                    self.make_ready(entry);
                    return Some(Settled::Requeued);
                };
                self.fail(&entry, Reason::Rejected, detail)
            }
        };
        self.pass_on(&entry);
        Some(settled)
    }

    fn judge_topic(&mut self, entry: &Entry<M>, outcome: &Outcome) {
        let (doubt, topic, batch) = (&mut self.doubt, &entry.row.topic, entry.batch);
        match outcome {
            Outcome::Confirmed => doubt.confirmed(topic),
            Outcome::Unroutable | Outcome::Nacked => doubt.answered(topic),
            Outcome::Overdue => doubt.overdue(topic, batch),
            Outcome::Rejected(_) => doubt.unanswered(topic, batch),
            Outcome::Unknown { .. } => {
                doubt.unanswered(topic, batch);
                doubt.lost();
            }
        }
    }

    /// Clears the messages of a topic of suspicion: one by one they would wait for a queue that does not
    /// answer, and everything else with each.
    fn acquit(&mut self, topic: &Arc<str>) {
        let all = self.ready.values_mut();
        for entry in all.filter(|entry| entry.row.topic == *topic) {
            entry.strikes = 0;
        }
    }

    /// Gives the turn of a row, which is done or parked, to the next of its key.
    pub(super) fn pass_on(&mut self, entry: &Entry<M>) {
        let Some(key) = &entry.row.key else {
            return;
        };
        let state = self.key(key);
        state.active = false;
        if matches!(entry.origin, Origin::Frame(_)) {
            state.from_frames -= 1;
        }
        self.advance(key);
    }

    /// Parks a row that cannot go now: until its next attempt, or until an operator decides.
    pub(super) fn fail(&mut self, entry: &Entry<M>, reason: Reason, detail: String) -> Settled {
        let attempts = match entry.origin {
            Origin::Frame(_) => 1,
            Origin::Parked { attempts } => attempts + 1,
        };
        let wait = self.settings.backoff.wait(attempts, entry.row.position);
        let (scope, due) = match reason {
            Reason::Unroutable => (Hold::Topic, Due::In(wait)),
            Reason::Rejected => (Hold::Key, Due::Never),
            _ => (Hold::Key, Due::In(wait)),
        };
        let hold = if entry.row.key.is_some() {
            scope
        } else {
            Hold::Nothing
        };
        self.park(entry, reason, hold, attempts, due, Some(detail));
        Settled::Parked(reason)
    }

    /// A row is done for good.
    fn finish(&mut self, entry: &Entry<M>) {
        self.release(entry);
        if matches!(entry.origin, Origin::Parked { .. }) {
            self.record_forget(entry);
        }
    }
}
