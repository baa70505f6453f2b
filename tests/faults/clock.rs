//! The clock of the relay's host is wrong, and jumps.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests.

use std::{fs, path::PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use postroom_testkit::{Login, Proxy, RelayProcess, Stack, Tap, Wire, eventually};
use support::{judged, load::Load};

/// Where Debian's package keeps the library that moves the clock of a process with threads.
fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    let found = found.find(|path| path.exists());
    found.expect("libfaketime is missing: scripts/services up --for test installs it")
}

/// How far the relay's clock is from this process's, by its newest line in the log.
fn offset(relay: &RelayProcess) -> TimeDelta {
    let said = relay.logged();
    let line = said.lines().last().expect("a line in the log");
    let at: DateTime<Utc> = line.split_whitespace().next().unwrap().parse().unwrap();
    at - Utc::now()
}

/// Publishes a message for a moment from now, by the database's clock; waits for it, and asserts
/// that it came no earlier.
async fn assert_scheduled(stack: &Stack, tap: &Tap) {
    let mut owner = stack.database.connect(Login::Owner).await;
    let id: uuid::Uuid = sqlx::query_scalar(
        "SELECT outbox.publish('later', '1', deliver_after => clock_timestamp() + interval '2 s')",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    eventually("the scheduled message comes", async || {
        tap.ids().contains(&id.to_string())
    })
    .await;
    let due: bool = sqlx::query_scalar(
        "SELECT clock_timestamp() >= deliver_after FROM outbox.message WHERE message_id = $1",
    )
    .bind(id)
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert!(due, "it came before its time");
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g7_the_relays_clock_jumps_by_an_hour_back_and_forth() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "load").await;
    let later = Tap::open(&stack.broker, "later", "later").await;
    let clock = std::env::temp_dir().join(postroom_testkit::unique("postroom_clock"));
    // At once: a relay that reads half of it ends.
    let set = |offset: &str| {
        let new = clock.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(new, &clock).unwrap();
    };
    set("+1h");
    let broker = Proxy::new(&stack.broker.url(), Wire::Forward).await;
    let broker_url = broker.url(&stack.broker.url());
    let relay = stack
        .relay_with(&[
            ("POSTROOM_LEASE_TIMEOUT", "2s"),
            ("POSTROOM_AMQP_URL", &broker_url),
            ("LD_PRELOAD", library().to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
            // Each look at the clock looks at the file as well.
            ("FAKETIME_NO_CACHE", "1"),
            // As in a step of the real one, which the monotonic clock does not take part in.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ])
        .await;
    let load = Load {
        slow: false,
        ..Load::new(0)
    };
    load.prepare(&stack.database).await;
    let fault = async {
        for (jump, hours) in [("+1h", 1), ("-1h", -1), ("+1h", 1), ("+0", 0)] {
            set(jump);
            let before = tap.ids().len();
            tap.distinct(before + 100).await;
            assert_scheduled(&stack, &later).await;
            // Makes it say something, and make another connection with its timers.
            broker.set(Wire::Refuse).await;
            broker.set(Wire::Forward).await;
            eventually("the relay's log tells the other time", async || {
                let wrong = offset(&relay) - TimeDelta::hours(hours);
                wrong.abs() < TimeDelta::minutes(5)
            })
            .await;
            relay.ready().await;
        }
    };
    load.during(&stack.database, fault).await;
    judged(&stack.database, &tap).await.assert_clean();
    let lost = relay.metric("postroom_relay_sessions_lost_total");
    assert!(lost.abs() < f64::EPSILON, "no lease was lost");
    drop(fs::remove_file(&clock));
}
