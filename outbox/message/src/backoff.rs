//! Waits between attempts.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Exponential backoff with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Makes a backoff from its first and its longest wait.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// Returns the wait after `failures` in a row: the first wait, doubled for each further failure up to the longest,
    /// times a random factor of 0.5 to 1, so that clients that failed at the same time do not retry at the same time.
    pub fn wait(&self, failures: u32) -> Duration {
        self.seeded_wait(failures, RandomState::new().hash_one(0))
    }

    /// Like [`Backoff::wait`], with a jitter that depends only on `seed` and `failures`, so that a run can be repeated.
    pub fn seeded_wait(&self, failures: u32, seed: u64) -> Duration {
        let doublings = failures.saturating_sub(1);
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(doublings));
        // SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
        // OOPSLA 2014).
        let mut bits = seed ^ (u64::from(failures) << 48);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        doubled.min(self.longest).mul_f64(0.5 + unit / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Backoff;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        for (failures, base) in [
            (0, 1.0),
            (1, 1.0),
            (2, 2.0),
            (5, 16.0),
            (7, 60.0),
            (1000, 60.0),
        ] {
            for seed in 0..100 {
                let wait = backoff.seeded_wait(failures, seed).as_secs_f64();
                assert!((base / 2.0..=base).contains(&wait), "{failures} {wait}");
            }
        }
        assert_ne!(backoff.seeded_wait(3, 1), backoff.seeded_wait(3, 2));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_the_longest(failures: u32, first in 0_u64..10_000, more in 0_u64..10_000) {
            let longest = Duration::from_millis(first + more);
            let wait = Backoff::new(Duration::from_millis(first), longest).wait(failures);
            prop_assert!(wait <= longest);
            prop_assert!(wait >= Duration::from_millis(first) / 2);
        }
    }
}
