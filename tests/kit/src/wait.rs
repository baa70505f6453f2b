//! Waiting on conditions.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Ends a hung test. No test asserts how fast something is.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Most that one round of a wait counts, however long it took.
const LONGEST_ROUND: Duration = Duration::from_secs(1);

/// Waits until a condition holds; panics with its name after [`DEADLINE`]. Time for which the process was stopped, by a
/// debugger or by a busy machine, does not count.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(in_time(holds).await, "not within {DEADLINE:?}: {what}");
}

/// Waits until a condition holds, for as long as [`DEADLINE`]; returns whether it does. For a
/// judgement that says more than that it is late.
pub async fn in_time(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let mut waited = Waited::begin();
    while !holds().await {
        if waited.time() >= DEADLINE {
            return false;
        }
        waited.sleep(Duration::from_millis(20)).await;
    }
    true
}

/// Time of a wait in which others could make progress.
#[derive(Debug)]
struct Waited {
    counted: Duration,
    /// End of the last sleep.
    since: Instant,
}

impl Waited {
    fn begin() -> Self {
        Self {
            counted: Duration::ZERO,
            since: Instant::now(),
        }
    }

    /// Returns the time that counts.
    const fn time(&self) -> Duration {
        self.counted
    }

    /// Ends a round with a sleep.
    async fn sleep(&mut self, planned: Duration) {
        let worked = self.since.elapsed();
        sleep(planned).await;
        self.counted += counted(worked, planned);
        self.since = Instant::now();
    }
}

/// Returns the part of a round that counts. The sleep counts as planned: a process that wakes up later was stopped, and
/// so were probably those that it waits for.
fn counted(worked: Duration, planned: Duration) -> Duration {
    worked.saturating_add(planned).min(LONGEST_ROUND)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Waited, counted};

    #[test]
    fn a_stopped_process_hardly_counts() {
        let (millis, hour) = (Duration::from_millis, Duration::from_hours(1));
        assert_eq!(counted(millis(5), millis(20)), millis(25));
        assert_eq!(counted(hour, millis(20)), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_sleep_counts_as_planned() {
        let began = Instant::now();
        let mut waited = Waited::begin();
        let planned = Duration::from_millis(1);
        // Another task keeps the only thread for longer than planned.
        let busy = Duration::from_millis(100);
        let keeping = async {
            let began = Instant::now();
            while began.elapsed() < busy {
                std::hint::spin_loop();
            }
        };
        tokio::join!(waited.sleep(planned), keeping);
        let without_busy = began.elapsed().saturating_sub(busy);
        assert!(waited.time() <= without_busy + planned, "{waited:?}");
    }
}
