//! Trying parked rows again.

use std::sync::Arc;

use super::{
    Disposition, Hold, KeyRequest, Machine, ParkedRow, Settled,
    key::Origin,
    key_retry::{KeyRetry, Next, RetryScan},
};

impl<M> Machine<M> {
    /// Notes parked rows found at the start of a session: what they hold.
    pub fn hold(&mut self, key: &Arc<str>, topic: &Arc<str>, hold: Hold) {
        self.key(key).holds.add(hold, topic);
    }

    /// Asks for the parked rows of a key, since one of them is due.
    pub fn retry_key(&mut self, key: &Arc<str>) {
        self.want_key(key);
    }

    /// Takes a parked row that stands for itself: without a key, or outside its order.
    ///
    /// A row that is in hand already is ignored.
    pub fn retry(&mut self, parked: ParkedRow<M>) -> Option<Settled> {
        let position = parked.row.position;
        // A frame that is read again may have brought it too.
        if self.windows.iter().any(|window| window.is_open(position)) {
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
    pub fn next_key_request(&mut self) -> Option<KeyRequest> {
        for _ in 0..self.wanted_keys.len() {
            let key = self.wanted_keys.pop_front()?;
            let Some(state) = self.keys.get_mut(&key) else {
                continue;
            };
            let KeyRetry::Wanted { after } = state.retry else {
                continue;
            };
            // A page must not reach above rows that are still to be parked.
            if state.unwritten > 0 || !state.pending_parks.is_empty() {
                self.wanted_keys.push_back(key);
                continue;
            }
            if after == 0 {
                // All that was parked before is written, and will be read.
                state.scan.parked_since = false;
            }
            state.retry = KeyRetry::Loading;
            let without = state.scan.failed_topics.to_vec();
            return Some(KeyRequest {
                key,
                after,
                without,
            });
        }
        None
    }

    /// Takes a page of a key's parked rows, in order; `more` if the page was full.
    pub fn take_key_rows(&mut self, key: &Arc<str>, rows: Vec<ParkedRow<M>>, more: bool) -> usize {
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
                let scan = &mut self.key(key).scan;
                scan.must_repeat |= scan.skips(&entry.row.topic);
                expired += 1;
                continue;
            }
            self.key(key).waiting.push_back(entry);
        }
        self.key(key).retry = KeyRetry::Feeding { last, more };
        self.advance(key);
        expired
    }

    /// Goes on with a drain when all rows of its page have been tried.
    pub(super) fn step_key_retry(&mut self, key: &Arc<str>) {
        let state = self.key(key);
        match state.retry {
            KeyRetry::Feeding { last, more } => match state.scan.next(last, more) {
                Next::Load { after } => {
                    state.retry = KeyRetry::Wanted { after };
                    self.wanted_keys.push_back(Arc::clone(key));
                }
                Next::End => {
                    state.retry = KeyRetry::Idle;
                    let scan = std::mem::take(&mut state.scan);
                    if !scan.stopped {
                        state.overflowed = false;
                        state.holds.key = false;
                        state.holds.topics = scan.failed_topics;
                    }
                    if scan.must_repeat {
                        self.want_key(key);
                    }
                }
            },
            KeyRetry::Idle if state.overflowed => self.want_key(key),
            KeyRetry::Idle | KeyRetry::Wanted { .. } | KeyRetry::Loading => {}
        }
    }

    fn want_key(&mut self, key: &Arc<str>) {
        let state = self.key(key);
        if state.retry == KeyRetry::Idle {
            state.scan = RetryScan::default();
            state.retry = KeyRetry::Wanted { after: 0 };
            self.wanted_keys.push_back(Arc::clone(key));
        }
    }
}
