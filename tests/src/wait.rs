//! Waiting on conditions.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Ends a hung test. No test asserts how fast something is.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Waits until a condition holds; panics with its name after [`DEADLINE`].
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(
            began.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}
