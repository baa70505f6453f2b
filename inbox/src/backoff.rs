//! Waits between tries: exponential, limited, and random by up to a half.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// A wait that doubles after each try, up to a longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// Returns the wait after `tries` earlier waits: a random time between half of the doubled time and all
    /// of it, so that tries that failed together are not repeated together.
    pub(crate) fn delay(&self, tries: u32) -> Duration {
        self.delay_at(tries, random())
    }

    fn delay_at(&self, tries: u32, random: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(2_u32.saturating_pow(tries))
            .min(self.longest);
        doubled.mul_f64(0.5 + random / 2.0)
    }
}

/// Returns a random number from 0 up to, but not including, 1. The keys of the standard library's hasher are
/// the only random source here.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Backoff;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<u128> = (0..6)
            .map(|tries| backoff.delay_at(tries, 1.0).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.delay_at(0, 0.0).as_millis(), 50);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_the_longest(tries: u32, first in 0_u64..10_000, more in 0_u64..10_000) {
            let longest = Duration::from_millis(first + more);
            let delay = Backoff::new(Duration::from_millis(first), longest).delay(tries);
            prop_assert!(delay <= longest);
            prop_assert!(delay >= Duration::from_millis(first) / 2);
        }
    }
}
