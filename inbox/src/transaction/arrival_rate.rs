//! How often something happens, as far as can be told from the last few times.

use std::time::{Duration, Instant};

/// Weight of the last time among those before it.
const WEIGHT: f64 = 0.125;

/// The mean time between two requests: an exponential moving average.
#[derive(Debug, Default)]
pub(super) struct ArrivalRate {
    last: Option<Instant>,
    /// In seconds; `None` before the second request.
    gap: Option<f64>,
}

impl ArrivalRate {
    /// Takes note of a request.
    pub(super) fn asked(&mut self, now: Instant) {
        if let Some(last) = self.last {
            let gap = now.saturating_duration_since(last).as_secs_f64();
            let mean = self.gap.unwrap_or(gap);
            self.gap = Some(mean + (gap - mean) * WEIGHT);
        }
        self.last = Some(now);
    }

    /// Returns how many requests are to be expected within `time`. Since the last one's time counts
    /// as a gap, this falls to none once no more come.
    pub(super) fn expected(&self, time: Duration, now: Instant) -> usize {
        let (Some(last), Some(gap)) = (self.last, self.gap) else {
            return 0;
        };
        let quiet = now.saturating_duration_since(last).as_secs_f64();
        let gap = gap.max(quiet).max(f64::MIN_POSITIVE);
        // A cast of what is too large for the type ends at its largest.
        (time.as_secs_f64() / gap) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::ArrivalRate;

    const TIME: Duration = Duration::from_millis(5);

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn steady_requests_are_expected_as_often_as_they_came() {
        let (mut rate, mut now) = (ArrivalRate::default(), Instant::now());
        assert_eq!(rate.expected(TIME, now), 0);
        rate.asked(now);
        assert_eq!(rate.expected(TIME, now), 0);
        for _ in 0..20 {
            now += millis(1);
            rate.asked(now);
        }
        assert!((4..=5).contains(&rate.expected(TIME, now)));
        // Four at once, every four milliseconds.
        for number in 0..80 {
            now += millis(if number % 4 == 0 { 4 } else { 0 });
            rate.asked(now);
        }
        assert!((3..=8).contains(&rate.expected(TIME, now)));
    }

    #[test]
    fn none_are_expected_where_they_are_rare_or_have_ended() {
        let (mut rate, mut now) = (ArrivalRate::default(), Instant::now());
        for _ in 0..20 {
            now += millis(50);
            rate.asked(now);
        }
        assert_eq!(rate.expected(TIME, now), 0);
        for _ in 0..100 {
            now += millis(1);
            rate.asked(now);
        }
        assert!(rate.expected(TIME, now) > 0);
        assert_eq!(rate.expected(TIME, now + millis(6)), 0);
    }
}
