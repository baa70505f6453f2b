//! Several relays at once: one of them publishes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests.

use postroom_testkit::{Database, Login, PgServer, RelayProcess, Stack, Tap, eventually};
use support::{judged, load::Load};

const LEASE: (&str, &str) = ("POSTROOM_LEASE_TIMEOUT", "2s");

fn load(rounds: usize) -> Load {
    Load {
        slow: false,
        ..Load::new(rounds)
    }
}

fn is_active(relay: &RelayProcess) -> bool {
    relay
        .health()
        .is_some_and(|(_, health)| health["role"] == "active")
}

/// Waits until one is active; never more than one are.
async fn active(relays: &[RelayProcess]) -> usize {
    let mut found = None;
    eventually("one relay is active", async || {
        let all: Vec<usize> = (0..relays.len())
            .filter(|&place| is_active(&relays[place]))
            .collect();
        assert!(all.len() < 2, "{} relays are active", all.len());
        found = all.first().copied();
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_three_relays_and_the_active_one_is_killed_again_and_again() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let mut relays: Vec<_> = (0..3).map(|_| stack.start_relay(&[LEASE])).collect();
    let load = load(0);
    load.prepare(&stack.database).await;
    let fault = async {
        for _ in 0..6 {
            let active = active(&relays).await;
            let before = tap.ids().len();
            tap.distinct(before + 100).await;
            relays.swap_remove(active).kill().await;
            relays.push(stack.start_relay(&[LEASE]));
        }
        let active = active(&relays).await;
        relays[active].ready().await;
    };
    load.during(&stack.database, fault).await;
    judged(&stack.database, &tap).await.assert_clean();
}

async fn caught_up(primary: &PgServer, standby: &PgServer, database: &Database) {
    let written = primary.sql(&database.name, "SELECT pg_current_wal_flush_lsn()");
    let behind = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
    eventually("the standby has everything", async || {
        standby.sql("postgres", &behind) == "t"
    })
    .await;
}

/// The old primary was not stopped: clients may write to both servers, and the relay publishes from one of them.
#[tokio::test(flavor = "multi_thread")]
async fn g7_an_old_primary_that_stays_up_beside_the_promoted_standby() {
    let old = PgServer::start();
    let new = old.standby();
    let stack = Stack::on(&old, None).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let first = stack.relay_with(&[LEASE]).await;
    let load = load(10);
    load.prepare(&stack.database).await;
    load.run(&stack.database).await;
    judged(&stack.database, &tap).await.assert_clean();
    caught_up(&old, &new, &stack.database).await;
    new.promote();
    let promoted = Stack {
        database: stack.database.at(&new.url()),
        broker: stack.broker.sibling(),
    };
    let second = promoted.start_relay(&[LEASE]);
    let before = tap.ids();
    // Other names for what it prepares.
    let more = Load {
        seed: load.seed.wrapping_add(1_000),
        ..load
    };
    more.run(&promoted.database).await;
    eventually("the second relay meets the fence", async || {
        second.logged().contains("postroom.fence.")
    })
    .await;
    assert!(is_active(&first), "the first one goes on");
    assert_eq!(second.health().map(|(ready, _)| ready), Some(false));
    // The first relay publishes from the old primary; the test checks those messages apart from the rest.
    let mut producer = stack.database.connect(Login::Producer).await;
    let publish = "SELECT outbox.publish('t', '1')::text";
    let on_old: String = sqlx::query_scalar(publish)
        .fetch_one(&mut producer)
        .await
        .unwrap();
    eventually("the old primary's message is seen", async || {
        tap.ids().contains(&on_old)
    })
    .await;
    assert_eq!(tap.ids().len(), before.len() + 1, "one of them publishes");
    first.kill().await;
    second.ready().await;
    let report = judged(&promoted.database, &tap).await;
    assert!(report.lost.is_empty(), "{report}");
    assert_eq!(report.ghosts, [on_old], "{report}");
    assert!(second.logged().contains("promoted"), "a promotion is told");
}
