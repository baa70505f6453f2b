//! When the lease was last known to be held.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Shared knowledge of the last moment at which the lease was certainly held.
///
/// A moment counts from *before* the statement that proved it was sent: the server counts silence
/// from after it, so it ends the session later than this clock says.
#[derive(Debug, Clone)]
pub(crate) struct LeaseFreshness {
    start: Instant,
    proven: Arc<AtomicU64>,
    timeout: Duration,
}

/// A moment before a statement was sent.
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

    /// Whether the lease is certainly still held, with a tenth of the timeout to spare.
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
    fn a_proof_counts_from_when_it_was_asked_for() {
        let mut freshness = LeaseFreshness::new(Duration::from_secs(10));
        assert!(freshness.is_fresh());
        // Nine and a half seconds ago this freshness was made.
        freshness.start = Instant::now()
            .checked_sub(Duration::from_millis(9_500))
            .unwrap();
        assert!(!freshness.is_fresh());
        let asked = freshness.now();
        freshness.renew(asked);
        assert!(freshness.is_fresh());
    }
}
