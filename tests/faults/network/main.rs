//! The network between the relay and its servers fails under load.
#![allow(clippy::expect_used)] // Helpers of tests.

mod partition;
mod wire;

use postroom_testkit::{RelayProcess, Tap, eventually};
use sqlx::PgPool;
use support::load::Load;

const LEASE: (&str, &str) = ("POSTROOM_LEASE_TIMEOUT", "2s");

fn load() -> Load {
    Load {
        writers: 6,
        slow: false,
        ..Load::new(0)
    }
}

/// Waits until so many more messages have come through.
async fn more(tap: &Tap, count: usize) {
    let before = tap.ids().len();
    tap.distinct(before + count).await;
}

/// Waits until the relay says that it has lost its broker.
async fn without_broker(relay: &RelayProcess) {
    eventually("the relay misses its broker", async || {
        relay
            .health()
            .is_some_and(|(ready, health)| !ready && health["broker"] != "ready")
    })
    .await;
}

/// Waits until the server has ended the session that holds the lease, and the relay its term.
async fn without_lease(relay: &RelayProcess, admin: &PgPool) {
    eventually("the server ends the lease's session", async || {
        let holders: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND application_name LIKE 'postroom-relay lane 0%'",
        )
        .fetch_one(admin)
        .await
        .expect("looking for sessions");
        holders == 0
    })
    .await;
    relay.role("starting").await;
}
