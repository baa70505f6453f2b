//! Trying parked rows again.

use std::sync::Arc;

use super::{
    Disposition, DrainRequest, Hold, Machine, ParkedRow, Settled,
    drain::{Drain, Next, Pass},
    key::Origin,
};

impl<M> Machine<M> {
    /// Notes parked rows found at the start of a session: what they hold.
    pub fn hold(&mut self, key: &Arc<str>, topic: &Arc<str>, hold: Hold) {
        self.key(key).holds.add(hold, topic);
    }

    /// Asks for the parked rows of a key, since one of them is due.
    pub fn drain(&mut self, key: &Arc<str>) {
        self.want_drain(key);
    }

    /// Takes a parked row that stands for itself: without a key, or outside its order.
    ///
    /// A row that is in hand already is ignored.
    pub fn retry(&mut self, parked: ParkedRow<M>) -> Option<Settled> {
        let position = parked.row.position;
        // A frame that is read again may have brought it too.
        if self.tracks.iter().any(|track| track.is_open(position)) {
            return None;
        }
        if !self.parked_in_hand.insert(position) {
            return None;
        }
        let mut row = parked.row;
        row.key = None;
        let entry = self.take_in(
            row,
            Origin::Parked {
                attempts: parked.attempts,
            },
        );
        if entry.row.disposition == Disposition::Expired {
            self.release(&entry);
            self.forget_dropped(position);
            return Some(Settled::Dropped);
        }
        self.make_ready(entry);
        None
    }

    /// Returns the next request for a key's parked rows, if one can be made now.
    pub fn next_drain(&mut self) -> Option<DrainRequest> {
        for _ in 0..self.wants_drain.len() {
            let key = self.wants_drain.pop_front()?;
            let Some(state) = self.keys.get_mut(&key) else {
                continue;
            };
            let Drain::Wanted { after } = state.drain else {
                continue;
            };
            // A page must not reach above rows that are still to be parked.
            if state.unwritten > 0 || !state.followers.is_empty() {
                self.wants_drain.push_back(key);
                continue;
            }
            if after == 0 {
                // All that was parked before is written, and will be read.
                state.pass.parked_since = false;
            }
            state.drain = Drain::Loading;
            let without = state.pass.failed_topics.to_vec();
            return Some(DrainRequest {
                key,
                after,
                without,
            });
        }
        None
    }

    /// Takes a page of a key's parked rows, in order; `more` if the page was full.
    pub fn drained(&mut self, key: &Arc<str>, rows: Vec<ParkedRow<M>>, more: bool) -> usize {
        let mut expired = 0;
        let mut last = 0;
        for parked in rows {
            last = parked.row.position;
            if !self.parked_in_hand.insert(last) {
                continue;
            }
            let entry = self.take_in(
                parked.row,
                Origin::Parked {
                    attempts: parked.attempts,
                },
            );
            if entry.row.disposition == Disposition::Expired {
                self.release(&entry);
                self.forget_dropped(last);
                let pass = &mut self.key(key).pass;
                pass.in_doubt |= pass.skips(&entry.row.topic);
                expired += 1;
                continue;
            }
            self.key(key).waiting.push_back(entry);
        }
        self.key(key).drain = Drain::Feeding { last, more };
        self.advance(key);
        expired
    }

    /// Goes on with a drain when all rows of its page have been tried.
    pub(super) fn step_drain(&mut self, key: &Arc<str>) {
        let state = self.key(key);
        match state.drain {
            Drain::Feeding { last, more } => match state.pass.next(last, more) {
                Next::Load { after } => {
                    state.drain = Drain::Wanted { after };
                    self.wants_drain.push_back(Arc::clone(key));
                }
                Next::End => {
                    state.drain = Drain::Idle;
                    let pass = std::mem::take(&mut state.pass);
                    if !pass.stopped {
                        state.spilled = false;
                        state.holds.key = false;
                        state.holds.topics = pass.failed_topics;
                    }
                    if pass.in_doubt {
                        self.want_drain(key);
                    }
                }
            },
            Drain::Idle if state.spilled => self.want_drain(key),
            Drain::Idle | Drain::Wanted { .. } | Drain::Loading => {}
        }
    }

    fn want_drain(&mut self, key: &Arc<str>) {
        let state = self.key(key);
        if state.drain == Drain::Idle {
            state.pass = Pass::default();
            state.drain = Drain::Wanted { after: 0 };
            self.wants_drain.push_back(Arc::clone(key));
        }
    }
}
