//! Settlement of rows: each is delivered, dropped, parked or sent again.

use postroom_message::recipient;

use super::Machine;
use crate::{
    capture::Position,
    publish::{DropReason, Due, Hold, Outcome, Park, Reason, Settled, entry::Entry},
};

impl<M> Machine<M> {
    /// Applies the outcome of a message that was handed out. Returns the decision; `None` if the
    /// message was not in flight, or was not sent.
    pub fn settle(&mut self, position: Position, outcome: Outcome) -> Option<Settled> {
        let sent = self.sending.take(position, &outcome)?;
        let entry = sent.entry();
        Some(match outcome {
            Outcome::Confirmed => {
                self.unbound.routed(&entry.topic);
                self.finish(entry)
            }
            Outcome::Expired => self.give_up(entry, DropReason::Expired),
            Outcome::Unroutable if self.drops_unroutable(&entry.topic) => {
                self.give_up(entry, DropReason::Unroutable)
            }
            Outcome::Unroutable => {
                let detail = if recipient::is_exchange(&entry.topic) {
                    "no consumer of this name takes commands, or the relay may not write to its exchange"
                } else {
                    self.unbound.returned(&entry.topic);
                    "no queue is bound to its topic"
                };
                self.fail(entry, Reason::Unroutable, detail)
            }
            Outcome::Nacked => {
                let detail = "the broker refused it: a queue is full or unavailable";
                self.fail(entry, Reason::Nacked, detail)
            }
            Outcome::Rejected(detail) => self.fail(entry, Reason::Rejected, detail),
            Outcome::Unsent => {
                self.sending.put_back(sent);
                return None;
            }
            Outcome::Overdue => {
                self.sending.requeue_overdue(sent);
                Settled::Requeued
            }
            Outcome::Unknown { blame } => match self.sending.requeue(sent, blame) {
                Some((entry, detail)) => self.fail(&entry, Reason::Rejected, detail),
                None => Settled::Requeued,
            },
        })
    }

    /// Parks the ready messages of unresponsive topics. In memory they would hold the watermark and
    /// fill the window in the end, and everything would wait with them. Returns their number,
    /// without the rows parked behind them.
    ///
    /// Of the messages that were parked before, one of each topic stays ready, to be tried, unless
    /// rows of its key in memory wait behind it.
    pub fn park_unresponsive(&mut self) -> usize {
        let holds_rows = |key: &_| self.keys.has_frame_rows(key);
        let taken = self.sending.take_unresponsive(holds_rows);
        for entry in &taken {
            let detail = "the broker answers others, but none of its topic";
            self.fail(entry, Reason::Nacked, detail);
        }
        taken.len()
    }

    /// Returns `true` if a policy drops unroutable messages of a topic. A command is never dropped: somebody has to act
    /// on it.
    fn drops_unroutable(&self, topic: &str) -> bool {
        !recipient::is_exchange(topic) && self.drop_unroutable.matches(topic)
    }

    /// Removes a row that is delivered.
    fn finish(&mut self, entry: &Entry<M>) -> Settled {
        self.window.release(entry);
        if entry.was_parked() {
            self.parking.forget(entry.position);
            if let Some(key) = &entry.key {
                self.parking.record_for_key(entry.position, key);
                self.keys.state(key).add_write();
            }
        }
        self.release_key(entry);
        Settled::Delivered
    }

    /// Removes a row that is dropped.
    fn give_up(&mut self, entry: &Entry<M>, reason: DropReason) -> Settled {
        self.drop(entry, reason);
        self.release_key(entry);
        Settled::Dropped
    }

    /// Parks a row that cannot be delivered now, until its next attempt or until an operator
    /// decides.
    fn fail(&mut self, entry: &Entry<M>, reason: Reason, detail: impl Into<String>) -> Settled {
        let attempts = entry.attempt();
        let wait = self.backoff.seeded_wait(attempts, entry.position as u64);
        let (scope, due) = match reason {
            Reason::Unroutable => (Hold::Topic, Due::In(wait)),
            Reason::Rejected => (Hold::Key, Due::Never),
            _ => (Hold::Key, Due::In(wait)),
        };
        let park = Park {
            position: entry.position,
            reason,
            hold: entry.key.as_ref().map_or(Hold::Nothing, |_| scope),
            attempts,
            due,
            detail: Some(detail.into()),
        };
        self.park(entry, park);
        self.release_key(entry);
        Settled::Parked(reason)
    }

    /// Frees the key of a row that is settled, and makes the next row of the key ready.
    fn release_key(&mut self, entry: &Entry<M>) {
        if let Some(key) = &entry.key {
            self.keys.state(key).release(entry);
            self.advance(key);
        }
    }

    /// Parks a row from a frame, or reschedules a row that was parked before.
    pub(super) fn park(&mut self, entry: &Entry<M>, park: Park) {
        self.window.release(entry);
        if let Some(key) = &entry.key
            && park.hold != Hold::Nothing
        {
            self.parking.record_for_key(park.position, key);
            let state = self.keys.state(key);
            state.parked(&entry.topic, park.reason, park.hold);
        }
        self.parking.park(entry.origin(), park);
    }
}
