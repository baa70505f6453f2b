//! Time at which the lease was last known to be held.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Shared record of the last time at which the lease was certainly held.
///
/// The time is taken *before* the statement that proved the lease was sent: the server counts
/// silence from after the statement, so it ends the session later than this clock says.
#[derive(Debug, Clone)]
pub(crate) struct LeaseFreshness {
    start: Instant,
    proven: Arc<AtomicU64>,
}

/// A time before a statement was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentAt(u64);

impl LeaseFreshness {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            proven: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(crate) fn now(&self) -> SentAt {
        SentAt(self.start.elapsed().as_millis() as u64)
    }

    pub(crate) fn renew(&self, asked: SentAt) {
        self.proven.fetch_max(asked.0, Ordering::Release);
    }

    /// Returns the time since the lease was last certainly held.
    pub(crate) fn age(&self) -> Duration {
        let proven = Duration::from_millis(self.proven.load(Ordering::Acquire));
        self.start.elapsed().saturating_sub(proven)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::LeaseFreshness;

    #[test]
    fn the_lease_is_fresh_from_the_time_a_statement_was_sent() {
        let mut freshness = LeaseFreshness::new();
        let second = Duration::from_secs(1);
        assert!(freshness.age() < second);
        // As if nine and a half seconds had passed since.
        freshness.start = Instant::now()
            .checked_sub(Duration::from_millis(9_500))
            .unwrap();
        assert!(freshness.age() > 9 * second);
        let asked = freshness.now();
        freshness.renew(asked);
        assert!(freshness.age() < second);
    }
}
