//! Keys: the order of each key's rows, and the holds of its parked rows.

mod holds;
mod scan;
mod state;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{FrameId, Settings, entry::Entry};

pub use holds::Hold;
pub use scan::{KeyRequest, ParkedRow};
pub(super) use state::{KeyState, Next, PendingPark};

/// The keys with rows in memory or with parked rows.
#[derive(Debug)]
pub(super) struct Keys<M> {
    /// Uses a fast hash function without protection against chosen keys: keys are the service's
    /// own.
    states: HashMap<Arc<str>, KeyState<M>, RandomState>,
    /// Keys whose parked rows are to be requested.
    wanted: VecDeque<Arc<str>>,
    max_rows: usize,
}

impl<M> Keys<M> {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            states: HashMap::default(),
            wanted: VecDeque::new(),
            max_rows: settings.key_rows,
        }
    }

    /// Returns the state of a key.
    pub(super) fn state(&mut self, key: &Arc<str>) -> &mut KeyState<M> {
        self.states.entry(Arc::clone(key)).or_default()
    }

    /// Adds a row of a frame to its key. Returns `true` if the row is to be parked.
    pub(super) fn enqueue(&mut self, key: &Arc<str>, entry: Entry<M>, frame: FrameId) -> bool {
        let max = self.max_rows;
        self.state(key).enqueue(entry, frame, max)
    }

    /// Returns what follows for the rows of a key.
    pub(super) fn next(&mut self, key: &Arc<str>) -> Next<M> {
        let Some(state) = self.states.get_mut(key) else {
            return Next::Nothing;
        };
        let next = state.next();
        if matches!(next, Next::Nothing) {
            if state.continue_scan() {
                self.wanted.push_back(Arc::clone(key));
            }
            self.forget_idle(key);
        }
        next
    }

    /// Starts a retry scan of a key, unless one is in progress.
    pub(super) fn start_scan(&mut self, key: &Arc<str>) {
        if self.state(key).start_scan() {
            self.wanted.push_back(Arc::clone(key));
        }
    }

    /// Returns the next request for a key's parked rows, if one can be made now.
    pub(super) fn next_request(&mut self) -> Option<KeyRequest> {
        for _ in 0..self.wanted.len() {
            let key = self.wanted.pop_front()?;
            let Some(state) = self.states.get_mut(&key) else {
                continue;
            };
            if state.must_write_first() {
                self.wanted.push_back(key);
                continue;
            }
            if let Some(request) = state.request(&key) {
                return Some(request);
            }
        }
        None
    }

    /// Records that a write about one of the key's parked rows is durable.
    pub(super) fn written(&mut self, key: &Arc<str>) {
        if let Some(state) = self.states.get_mut(key) {
            state.written();
        }
        self.forget_idle(key);
    }

    /// Number of keys that parked rows hold back, wholly or for some topics.
    pub(super) fn held(&self) -> usize {
        let held = self.states.values().filter(|state| state.is_held());
        held.count()
    }

    /// Returns `true` if rows of a frame wait behind a parked row of the key.
    pub(super) fn has_frame_rows(&self, key: &Arc<str>) -> bool {
        self.states.get(key).is_some_and(KeyState::has_frame_rows)
    }

    fn forget_idle(&mut self, key: &Arc<str>) {
        if self.states.get(key).is_some_and(KeyState::is_idle) {
            self.states.remove(key);
        }
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &KeyState<M>)> {
        self.states.iter()
    }

    #[cfg(test)]
    pub(super) fn wants_none(&self) -> bool {
        self.wanted.is_empty()
    }
}
