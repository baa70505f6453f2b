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
    timeout: Duration,
}

/// A time before a statement was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentAt(u64);

impl LeaseFreshness {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            start: Instant::now(),
            proven: Arc::new(AtomicU64::new(0)),
            timeout,
        }
    }

    pub(crate) fn now(&self) -> SentAt {
        SentAt(self.start.elapsed().as_millis() as u64)
    }

    pub(crate) fn renew(&self, asked: SentAt) {
        self.proven.fetch_max(asked.0, Ordering::Release);
    }

    /// Returns `true` while the lease is certainly held, with a tenth of the timeout to spare.
    pub(crate) fn is_fresh(&self) -> bool {
        let now = self.start.elapsed().as_millis() as u64;
        let age = now.saturating_sub(self.proven.load(Ordering::Acquire));
        u128::from(age) < self.timeout.as_millis() * 9 / 10
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::LeaseFreshness;

    #[test]
    fn the_lease_is_fresh_from_the_time_a_statement_was_sent() {
        let mut freshness = LeaseFreshness::new(Duration::from_secs(10));
        assert!(freshness.is_fresh());
        // As if nine and a half seconds had passed since.
        freshness.start = Instant::now()
            .checked_sub(Duration::from_millis(9_500))
            .unwrap();
        assert!(!freshness.is_fresh());
        let asked = freshness.now();
        freshness.renew(asked);
        assert!(freshness.is_fresh());
    }
}
