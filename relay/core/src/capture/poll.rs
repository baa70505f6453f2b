//! Waits between polls for new rows.

use std::time::Duration;

/// Adaptive interval between two polls: short while there is work, longer when there is none.
///
/// Producers do not notify: `NOTIFY` inside their transactions would serialise their commits.
#[derive(Debug, Clone)]
pub struct PollInterval {
    shortest: Duration,
    longest: Duration,
    current: Duration,
    /// Time waited since a poll last found something.
    quiet: Duration,
}

/// Time without rows before the interval grows: messages that arrive at least this often wait
/// least.
const STEADY: Duration = Duration::from_millis(30);

impl PollInterval {
    /// Makes an interval between two bounds.
    pub const fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            current: shortest,
            quiet: Duration::ZERO,
        }
    }

    /// Returns the wait after a poll that found something and `took` this long, reading and handing
    /// on included.
    ///
    /// The wait is as long as the poll, within bounds: polls are mostly slow because the server is
    /// busy, and fewer polls that find more cost it less.
    pub fn busy(&mut self, took: Duration) -> Duration {
        self.current = self.shortest;
        self.quiet = Duration::ZERO;
        let rest = self.shortest.saturating_sub(took);
        rest.max(took.min(self.shortest * 2))
    }

    /// Returns the wait after a poll that found nothing; grows by half each time once nothing was
    /// found for a while.
    pub fn idle(&mut self) -> Duration {
        let wait = self.current;
        self.quiet += wait;
        if self.quiet >= STEADY {
            self.current = (self.current + self.current / 2).min(self.longest);
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::PollInterval;

    #[test]
    fn waits_grow_to_the_longest_and_shrink_at_once() {
        let mut interval = PollInterval::new(Duration::from_millis(2), Duration::from_millis(50));
        let steady = (0..15).map(|_| interval.idle().as_millis());
        assert!(steady.into_iter().all(|wait| wait == 2));
        let waits: Vec<u128> = (0..10).map(|_| interval.idle().as_millis()).collect();
        assert_eq!(waits, [3, 4, 6, 10, 15, 22, 34, 50, 50, 50]);
        assert_eq!(interval.busy(Duration::ZERO).as_millis(), 2);
        assert_eq!(interval.idle().as_millis(), 2);
    }

    #[test]
    fn slow_polls_become_fewer_but_a_long_frame_adds_no_long_wait() {
        let mut interval = PollInterval::new(Duration::from_millis(2), Duration::from_millis(50));
        let waits = [0, 1, 2, 3, 60_000].map(|took| {
            let wait = interval.busy(Duration::from_millis(took));
            wait.as_millis()
        });
        assert_eq!(waits, [2, 1, 2, 3, 4]);
    }
}
