//! Waiting on conditions.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Ends a hung test. No test asserts how fast something is.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Waits until a condition holds; panics with its name after [`DEADLINE`].
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(in_time(holds).await, "not within {DEADLINE:?}: {what}");
}

/// Waits until a condition holds, for as long as [`DEADLINE`]; returns whether it does. For a
/// judgement that says more than that it is late.
pub async fn in_time(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let began = Instant::now();
    while !holds().await {
        if began.elapsed() >= DEADLINE {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
    true
}
