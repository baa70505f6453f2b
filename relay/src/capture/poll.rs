//! How long to wait before looking again.

use std::time::Duration;

/// Adaptive interval between two looks: short while there is work, longer when there is none.
///
/// Producers do not notify: `NOTIFY` inside their transactions would serialise their commits.
#[derive(Debug, Clone)]
pub struct PollInterval {
    shortest: Duration,
    longest: Duration,
    current: Duration,
    /// Time waited since something was found.
    quiet: Duration,
}

/// How long to go on looking often: messages that come as often as this wait least.
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

    /// Returns how long to wait after a look that found something and `took` so long, reading and
    /// handing on included.
    ///
    /// As long again, within bounds: what makes looks slow is mostly a busy server, and fewer looks
    /// that find more cost it less.
    pub fn busy(&mut self, took: Duration) -> Duration {
        self.current = self.shortest;
        self.quiet = Duration::ZERO;
        let rest = self.shortest.saturating_sub(took);
        rest.max(took.min(self.shortest * 2))
    }

    /// Returns how long to wait after a look that found nothing; grows by half each time
    /// once nothing was found for a while.
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
    fn it_relaxes_to_the_longest_and_wakes_at_once() {
        let mut interval = PollInterval::new(Duration::from_millis(2), Duration::from_millis(50));
        let steady = (0..15).map(|_| interval.idle().as_millis());
        assert!(steady.into_iter().all(|wait| wait == 2));
        let waits: Vec<u128> = (0..10).map(|_| interval.idle().as_millis()).collect();
        assert_eq!(waits, [3, 4, 6, 10, 15, 22, 34, 50, 50, 50]);
        assert_eq!(interval.busy(Duration::ZERO).as_millis(), 2);
        assert_eq!(interval.idle().as_millis(), 2);
    }

    #[test]
    fn slow_looks_become_fewer_but_no_frame_is_waited_for() {
        let mut interval = PollInterval::new(Duration::from_millis(2), Duration::from_millis(50));
        let waits = [0, 1, 2, 3, 60_000].map(|took| {
            let wait = interval.busy(Duration::from_millis(took));
            wait.as_millis()
        });
        assert_eq!(waits, [2, 1, 2, 3, 4]);
    }
}
