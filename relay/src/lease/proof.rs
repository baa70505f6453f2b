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
pub(crate) struct Proof {
    start: Instant,
    proven: Arc<AtomicU64>,
    timeout: Duration,
}

/// A moment before a statement was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked(u64);

impl Proof {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            start: Instant::now(),
            proven: Arc::new(AtomicU64::new(0)),
            timeout,
        }
    }

    pub(crate) fn now(&self) -> Asked {
        Asked(self.start.elapsed().as_millis() as u64)
    }

    pub(crate) fn renew(&self, asked: Asked) {
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

    use super::Proof;

    #[test]
    fn a_proof_counts_from_when_it_was_asked_for() {
        let mut proof = Proof::new(Duration::from_secs(10));
        assert!(proof.is_fresh());
        // Nine and a half seconds ago this proof was made.
        proof.start = Instant::now()
            .checked_sub(Duration::from_millis(9_500))
            .unwrap();
        assert!(!proof.is_fresh());
        let asked = proof.now();
        proof.renew(asked);
        assert!(proof.is_fresh());
    }
}
