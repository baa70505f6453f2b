//! An estimate of how often transactions are requested.

use std::time::{Duration, Instant};

/// Weight of the newest gap in the moving average.
const WEIGHT: f64 = 0.125;

/// Mean time between two requests, as an exponential moving average.
#[derive(Debug, Default)]
pub(super) struct ArrivalRate {
    last: Option<Instant>,
    /// Mean gap in seconds; `None` before the second request.
    gap: Option<f64>,
}

impl ArrivalRate {
    /// Records a request.
    pub(super) fn record_request(&mut self, now: Instant) {
        if let Some(last) = self.last {
            let gap = now.saturating_duration_since(last).as_secs_f64();
            let mean = self.gap.unwrap_or(gap);
            self.gap = Some(mean + (gap - mean) * WEIGHT);
        }
        self.last = Some(now);
    }

    /// Returns the expected number of requests within `time`. The time since the last request counts as a
    /// gap, so the number falls to 0 when requests stop.
    pub(super) fn expected(&self, time: Duration, now: Instant) -> usize {
        let (Some(last), Some(gap)) = (self.last, self.gap) else {
            return 0;
        };
        let quiet = now.saturating_duration_since(last).as_secs_f64();
        let gap = gap.max(quiet).max(f64::MIN_POSITIVE);
        // The cast saturates.
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
    fn steady_requests_are_expected_at_their_past_rate() {
        let (mut rate, mut now) = (ArrivalRate::default(), Instant::now());
        assert_eq!(rate.expected(TIME, now), 0);
        rate.record_request(now);
        assert_eq!(rate.expected(TIME, now), 0);
        for _ in 0..20 {
            now += millis(1);
            rate.record_request(now);
        }
        assert!((4..=5).contains(&rate.expected(TIME, now)));
        // Four requests at once, every four milliseconds.
        for number in 0..80 {
            now += millis(if number % 4 == 0 { 4 } else { 0 });
            rate.record_request(now);
        }
        assert!((3..=8).contains(&rate.expected(TIME, now)));
    }

    #[test]
    fn no_request_is_expected_when_requests_are_rare_or_have_stopped() {
        let (mut rate, mut now) = (ArrivalRate::default(), Instant::now());
        for _ in 0..20 {
            now += millis(50);
            rate.record_request(now);
        }
        assert_eq!(rate.expected(TIME, now), 0);
        for _ in 0..100 {
            now += millis(1);
            rate.record_request(now);
        }
        assert!(rate.expected(TIME, now) > 0);
        assert_eq!(rate.expected(TIME, now + millis(6)), 0);
    }
}
