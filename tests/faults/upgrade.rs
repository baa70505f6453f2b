//! Relays of two builds side by side, one taking over from the other and back.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::{
    env,
    path::{Path, PathBuf},
};

use postroom_testkit::{Login, RelayProcess, Stack, Tap, binary};
use serde_json::json;
use support::{judged, load::Load};

const LEASE: (&str, &str) = ("POSTROOM_LEASE_TIMEOUT", "2s");

/// The relay of another build; `scripts/upgrade` makes it. The same one by default: then this is two
/// installations of one build that are restarted in turn.
fn other() -> PathBuf {
    env::var_os("POSTROOM_OTHER_RELAY").map_or_else(|| binary("relay"), PathBuf::from)
}

fn start(stack: &Stack, binary: &Path) -> RelayProcess {
    stack.start_relay_of(binary, &[LEASE])
}

/// Upgraded, gone back, upgraded again; asked to end at some turns, and killed at others.
#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_g7_relays_of_two_builds_take_over_from_each_other() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "load").await;
    let load = Load {
        slow: false,
        ..Load::new(0)
    };
    load.prepare(&stack.database).await;
    let builds = [other(), binary("relay")];
    let mut active = start(&stack, &builds[0]);
    active.ready().await;
    let fault = async {
        for turn in 1..=6 {
            let standby = start(&stack, &builds[turn % 2]);
            standby.role("standby").await;
            // Parked by one build, to be published by the other.
            park(&stack, turn).await;
            let before = tap.ids().len();
            tap.distinct(before + 100).await;
            let leaving = std::mem::replace(&mut active, standby);
            if turn % 3 == 0 {
                leaving.kill().await;
            } else {
                assert!(leaving.stop().await.success(), "a stopped relay says so");
            }
            // A standby is ready too, so the role is waited for first.
            active.role("active").await;
            active.ready().await;
        }
    };
    load.during(&stack.database, fault).await;
    let late = Tap::open(&stack.broker, "late", "late").await;
    late.distinct(6).await;
    stack.delivered().await;
    judged(&stack.database, &tap).await.assert_clean();
    let bodies: Vec<Vec<u8>> = late.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies.concat(), b"123456", "in order of their key");
}

/// Publishes a message that no queue takes yet.
async fn park(stack: &Stack, number: usize) {
    let mut producer = stack.database.connect(Login::Producer).await;
    sqlx::query("SELECT outbox.publish('late', $1, key => 'one')")
        .bind(json!(number))
        .execute(&mut producer)
        .await
        .expect("publishing");
}
