//! Settlement of messages that were handed out.

use std::sync::Arc;

use super::{
    Hold, Machine, Outcome, Reason, Settled,
    key::{Entry, Origin},
    pending_writes::Due,
};
use crate::capture::Position;

/// Times that the broker closes a channel or connection over a message before the message is
/// rejected: once in a batch with others, then alone.
const MAX_CLOSURES: u8 = 3;

impl<M> Machine<M> {
    /// Applies the outcome of a message that was handed out. Returns the decision; `None` if the
    /// message was not in flight, or was not sent.
    pub fn settle(&mut self, position: Position, outcome: Outcome) -> Option<Settled> {
        let mut entry = self.in_flight.remove(&position)?;
        self.suspect = self.suspect.filter(|suspect| *suspect != position);
        self.update_isolation(&entry, &outcome);
        let settled = match outcome {
            Outcome::Confirmed => {
                self.unbound.routed(&entry.row.topic);
                self.finish(&entry);
                Settled::Delivered
            }
            Outcome::Expired => {
                self.finish(&entry);
                Settled::Dropped
            }
            Outcome::Unroutable if self.settings.drop_unroutable.matches(&entry.row.topic) => {
                self.finish(&entry);
                Settled::Dropped
            }
            Outcome::Unroutable => {
                self.unbound.returned(&entry.row.topic);
                let detail = "no queue is bound to its topic".to_owned();
                self.fail(&entry, Reason::Unroutable, detail)
            }
            Outcome::Nacked => {
                let detail = "the broker refused it: a queue is full or unavailable".to_owned();
                self.fail(&entry, Reason::Nacked, detail)
            }
            Outcome::Rejected(detail) => self.fail(&entry, Reason::Rejected, detail),
            Outcome::Unsent => {
                // The entry keeps its closures: nothing new is known of the message.
                self.make_ready(entry);
                return None;
            }
            Outcome::Overdue => {
                if std::mem::take(&mut entry.closures) > 0 {
                    self.clear_closures(&entry.row.topic);
                }
                self.make_ready(entry);
                return Some(Settled::Requeued);
            }
            Outcome::Unknown { blame } => {
                entry.closures = blame.as_ref().map_or(0, |_| entry.closures + 1);
                let Some(detail) = blame.filter(|_| entry.closures >= MAX_CLOSURES) else {
                    self.make_ready(entry);
                    return Some(Settled::Requeued);
                };
                self.fail(&entry, Reason::Rejected, detail)
            }
        };
        self.release_key(&entry);
        Some(settled)
    }

    fn update_isolation(&mut self, entry: &Entry<M>, outcome: &Outcome) {
        let (isolation, topic, batch) = (&mut self.isolation, &entry.row.topic, entry.batch);
        match outcome {
            Outcome::Confirmed => isolation.confirmed(topic),
            Outcome::Unroutable | Outcome::Nacked => isolation.answered(topic),
            Outcome::Overdue => isolation.overdue(topic, batch),
            Outcome::Rejected(_) | Outcome::Expired | Outcome::Unsent => {
                isolation.unanswered(topic, batch);
            }
            Outcome::Unknown { .. } => {
                isolation.unanswered(topic, batch);
                isolation.channel_lost();
            }
        }
    }

    /// Clears the suspicion of a topic's ready messages. Sent one by one, they would wait for a
    /// queue that does not answer, and everything else with each of them.
    fn clear_closures(&mut self, topic: &Arc<str>) {
        let all = self.ready.values_mut();
        for entry in all.filter(|entry| entry.row.topic == *topic) {
            entry.closures = 0;
        }
    }

    /// Frees the key of a row that is settled, and makes the next row of the key ready.
    pub(super) fn release_key(&mut self, entry: &Entry<M>) {
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

    /// Parks a row that cannot be delivered now, until its next attempt or until an operator
    /// decides.
    pub(super) fn fail(&mut self, entry: &Entry<M>, reason: Reason, detail: String) -> Settled {
        let attempts = match entry.origin {
            Origin::Frame(_) => 1,
            Origin::Parked { attempts } => attempts + 1,
        };
        let wait = self
            .settings
            .backoff
            .seeded_wait(attempts, entry.row.position as u64);
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

    /// Removes a row that is delivered or dropped.
    fn finish(&mut self, entry: &Entry<M>) {
        self.release(entry);
        if entry.was_parked() {
            self.record_forget(entry);
        }
    }
}
