//! Waiting times between attempts.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use postroom_message::Backoff;

/// Attempts to keep a connection open.
#[derive(Debug)]
pub(crate) struct Reconnect {
    /// Age at which a connection counts as stable; its loss is retried with the shortest wait.
    stable_after: Duration,
    /// Number of failures in a row.
    failures: u32,
    /// Random seed, so that clients disconnected at the same time reconnect at different times.
    seed: u64,
}

impl Reconnect {
    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

    pub(crate) fn new(stable_after: Duration) -> Self {
        Self {
            stable_after,
            failures: 0,
            seed: RandomState::new().hash_one(0),
        }
    }

    /// Records a failure of a connection that lasted for `lasted`, and returns the wait before the next
    /// attempt.
    pub(crate) fn failed(&mut self, lasted: Duration) -> Duration {
        if lasted >= self.stable_after {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        Self::BACKOFF.seeded_wait(self.failures, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Reconnect;

    #[test]
    fn the_loss_of_a_stable_connection_is_retried_quickly() {
        let mut attempts = Reconnect::new(Duration::from_secs(5));
        let first = Duration::from_millis(100);
        assert!(attempts.failed(Duration::ZERO) <= first);
        for _ in 0..10 {
            attempts.failed(Duration::from_secs(4));
        }
        assert!(attempts.failed(Duration::ZERO) >= Duration::from_millis(2_500));
        assert!(attempts.failed(Duration::from_secs(5)) <= first);
    }
}
