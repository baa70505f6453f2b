//! Guards that tell a tracker when something ends.

use std::sync::Arc;

use super::{ConsumerState, Tracker};

/// Deliveries that are being handled.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    tracker: &'a Tracker,
    deliveries: usize,
}

impl<'a> InFlight<'a> {
    pub(super) const fn new(tracker: &'a Tracker, deliveries: usize) -> Self {
        Self {
            tracker,
            deliveries,
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.tracker.handled(self.deliveries);
    }
}

/// A run of the consumer. Dropped before its end, it counts as failed.
#[derive(Debug)]
pub(crate) struct Run(Option<Arc<Tracker>>);

impl Run {
    pub(super) fn new(tracker: &Arc<Tracker>) -> Self {
        Self(Some(Arc::clone(tracker)))
    }

    /// Records the end of the run; `error` is the reason of a failure.
    pub(crate) fn ended(mut self, error: Option<&str>) {
        if let Some(tracker) = self.0.take() {
            let state = match error {
                Some(_) => ConsumerState::Failed,
                None => ConsumerState::Stopped,
            };
            tracker.ended(state, error);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(tracker) = self.0.take() {
            let text = "the future of `run` was dropped or panicked before it ended";
            tracker.ended(ConsumerState::Failed, Some(text));
        }
    }
}
