//! How long a failed message waits.

use std::time::Duration;

use crate::capture::Position;

/// Exponential backoff with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
}

impl Backoff {
    /// Returns the wait after `attempts` failures: doubled each time, up to a fifth shorter or
    /// longer.
    ///
    /// The jitter is a function of position and attempt, so that a run can be repeated.
    pub fn wait(&self, attempts: u32, position: Position) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << attempts.saturating_sub(1).min(20));
        let base = doubled.min(self.longest);
        // SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number
        // generators", OOPSLA 2014).
        let mut bits = (position as u64) ^ (u64::from(attempts) << 48);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        base.mul_f64(0.8 + 0.4 * unit)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn it_doubles_up_to_its_longest_with_jitter_of_a_fifth() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_mins(1),
        };
        for (attempts, base) in [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (1000, 60.0)] {
            for position in 0..100 {
                let wait = backoff.wait(attempts, position).as_secs_f64();
                assert!(
                    (base * 0.8..=base * 1.2).contains(&wait),
                    "{attempts} {wait}"
                );
            }
        }
        assert_ne!(backoff.wait(3, 1), backoff.wait(3, 2));
    }
}
