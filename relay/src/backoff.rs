//! Waiting times between attempts.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Exponential backoff with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
}

impl Backoff {
    /// Returns the wait after `attempts` failures: doubled each time, and up to a fifth shorter or longer.
    ///
    /// The jitter is a function of `seed` and `attempts`, so that a run can be repeated.
    pub fn wait(&self, attempts: u32, seed: u64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << attempts.saturating_sub(1).min(20));
        let base = doubled.min(self.longest);
        // SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number
        // generators", OOPSLA 2014).
        let mut bits = seed ^ (u64::from(attempts) << 48);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        base.mul_f64(0.8 + 0.4 * unit)
    }
}

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
    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(5),
    };

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
        Self::BACKOFF.wait(self.failures, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, Reconnect};

    #[test]
    fn the_wait_doubles_up_to_the_longest_with_jitter_of_a_fifth() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_mins(1),
        };
        for (attempts, base) in [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (1000, 60.0)] {
            for seed in 0..100 {
                let wait = backoff.wait(attempts, seed).as_secs_f64();
                assert!(
                    (base * 0.8..=base * 1.2).contains(&wait),
                    "{attempts} {wait}"
                );
            }
        }
        assert_ne!(backoff.wait(3, 1), backoff.wait(3, 2));
    }

    #[test]
    fn the_loss_of_a_stable_connection_is_retried_quickly() {
        let mut attempts = Reconnect::new(Duration::from_secs(5));
        let first = Duration::from_millis(120);
        assert!(attempts.failed(Duration::ZERO) <= first);
        for _ in 0..10 {
            attempts.failed(Duration::from_secs(4));
        }
        assert!(attempts.failed(Duration::ZERO) >= Duration::from_secs(4));
        assert!(attempts.failed(Duration::from_secs(5)) <= first);
    }
}
