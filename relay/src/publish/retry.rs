//! Retries of parked rows.

use std::sync::Arc;

use super::{
    Disposition, Hold, KeyRequest, Machine, ParkedRow, Settled,
    key::Origin,
    key_retry::{KeyRetry, Next, RetryScan},
};

impl<M> Machine<M> {
    /// Records what a parked row holds back; called for the parked rows found when a session
    /// begins.
    pub fn hold(&mut self, key: &Arc<str>, topic: &Arc<str>, hold: Hold) {
        self.key(key).holds.add(hold, topic);
    }

    /// Starts a retry scan of a key, since one of its parked rows is due.
    pub fn retry_key(&mut self, key: &Arc<str>) {
        self.start_scan(key);
    }

    /// Takes a parked row that holds nothing: it has no key, or has left its key's order.
    ///
    /// Ignores a row that is being retried already.
    pub fn retry(&mut self, parked: ParkedRow<M>) -> Option<Settled> {
        let position = parked.row.position;
        // A frame that is read again may have brought the row too.
        if self
            .windows
            .iter()
            .any(|window| window.has_unsettled(position))
        {
            return None;
        }
        if !self.parked_in_progress.insert(position) {
            return None;
        }
        let mut row = parked.row;
        row.key = None;
        let entry = self.new_entry(
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
                // All rows parked so far are written, so the scan reads them.
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

    /// Takes a page of a key's parked rows, in order; `more` is `true` if the page was full.
    /// Returns the number of expired rows.
    pub fn take_key_rows(&mut self, key: &Arc<str>, rows: Vec<ParkedRow<M>>, more: bool) -> usize {
        let mut expired = 0;
        let mut last = 0;
        for parked in rows {
            last = parked.row.position;
            if !self.parked_in_progress.insert(last) {
                continue;
            }
            let entry = self.new_entry(
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
        self.key(key).retry = KeyRetry::Trying { last, more };
        self.advance(key);
        expired
    }

    /// Continues a scan once all rows of its page have been tried.
    pub(super) fn step_key_retry(&mut self, key: &Arc<str>) {
        let state = self.key(key);
        match state.retry {
            KeyRetry::Trying { last, more } => match state.scan.next(last, more) {
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
                        self.start_scan(key);
                    }
                }
            },
            KeyRetry::Idle if state.overflowed => self.start_scan(key),
            KeyRetry::Idle | KeyRetry::Wanted { .. } | KeyRetry::Loading => {}
        }
    }

    /// Starts a retry scan of a key, unless one is in progress.
    fn start_scan(&mut self, key: &Arc<str>) {
        let state = self.key(key);
        if state.retry == KeyRetry::Idle {
            state.scan = RetryScan::default();
            state.retry = KeyRetry::Wanted { after: 0 };
            self.wanted_keys.push_back(Arc::clone(key));
        }
    }
}
