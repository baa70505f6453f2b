//! The database fails under load: killed, restarted, frozen, copied.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use postroom_testkit::{Login, PgServer, Stack, Tap, eventually};
use support::{judged, load::Load};

const LEASE: (&str, &str) = ("POSTROOM_LEASE_TIMEOUT", "2s");

fn load() -> Load {
    Load {
        slow: false,
        ..Load::new(40)
    }
}

/// Runs the load while `fault` happens.
async fn under_load(stack: &Stack, load: &Load, fault: impl Future<Output = ()>) {
    load.prepare(&stack.database).await;
    tokio::join!(load.run(&stack.database), fault);
}

/// Waits until `count` messages of the load have arrived.
async fn arrived(tap: &Tap, count: usize) {
    tap.distinct(count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_postgres_is_restarted() {
    let mut postgres = PgServer::start();
    let stack = Stack::on(&postgres, None).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay_with(&[LEASE]).await;
    under_load(&stack, &load(), async {
        for round in 1..=2 {
            arrived(&tap, round * 150).await;
            postgres.stop();
            postgres.resume();
        }
    })
    .await;
    judged(&stack.database, &tap).await.assert_clean();
    relay.ready().await;
}

/// Producers do not wait for the disk, so a kill takes committed transactions back: none of them
/// may have been published. Nor may the relay overlook a message because its transaction's id was
/// assigned before the crash too.
#[tokio::test(flavor = "multi_thread")]
async fn g2_trap_5_postgres_is_killed_under_asynchronous_commits() {
    let mut postgres = PgServer::start();
    let stack = Stack::on(&postgres, None).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay_with(&[LEASE]).await;
    let load = Load {
        synchronous_commit: "off",
        ..load()
    };
    under_load(&stack, &load, async {
        for round in 1..=3 {
            arrived(&tap, round * 100).await;
            postgres.kill();
            postgres.resume();
        }
    })
    .await;
    judged(&stack.database, &tap).await.assert_clean();
}

/// The relay has seen transactions whose end was not written to the disk. After a crash the server assigns
/// their ids again.
#[tokio::test(flavor = "multi_thread")]
async fn g3_trap_5_ids_that_a_crash_hands_out_again_hide_nothing() {
    // So that hardly anything except commits flushes the write-ahead log.
    let mut postgres = PgServer::start_with("autovacuum = off\nwal_writer_delay = 10s");
    let stack = Stack::on(&postgres, None).await;
    let name = stack.database.name.as_str();
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay_with(&[LEASE]).await;
    let mut reused = false;
    for round in 1..=10 {
        postgres.sql(
            name,
            "DO $$ BEGIN FOR i IN 1..10 LOOP PERFORM pg_current_xact_id(); ROLLBACK; END LOOP; END $$",
        );
        let next = postgres.sql(name, "SELECT pg_snapshot_xmax(pg_current_snapshot())");
        let ended = postgres.sql(name, "SELECT clock_timestamp()");
        let has_polled = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = 'postroom-relay reader'
               AND query_start > '{ended}'::timestamptz + '200 ms'"
        );
        eventually("the relay has seen them end", async || {
            postgres.sql(name, &has_polled) == "1"
        })
        .await;
        postgres.kill();
        postgres.resume();
        let id = postgres.sql(
            name,
            "SELECT pg_current_xact_id() FROM outbox.publish('t', '1')",
        );
        tap.distinct(round).await;
        stack.delivered().await;
        relay.ready().await;
        reused = id.parse::<u64>().unwrap() < next.parse().unwrap();
        if reused {
            break;
        }
    }
    assert!(reused, "no crash took an id back");
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_every_session_of_the_relay_is_terminated_again_and_again() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay_with(&[LEASE]).await;
    let admin = stack.database.pool(Login::Admin).await;
    under_load(&stack, &load(), async {
        for (round, name) in ["lane 0%", "reader", "parked", "lane 0%"].into_iter().enumerate() {
            arrived(&tap, (round + 1) * 100).await;
            eventually("a session of the relay is there to be terminated", async || {
                let ended: i64 = sqlx::query_scalar(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name LIKE 'postroom-relay ' || $1",
                )
                .bind(name)
                .fetch_one(&admin)
                .await
                .expect("terminating sessions");
                ended > 0
            })
            .await;
        }
    })
    .await;
    judged(&stack.database, &tap).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_6_a_relay_that_is_pointed_at_a_standby_does_not_become_active() {
    let primary = PgServer::start();
    let standby = primary.standby();
    let stack = Stack::on(&primary, None).await;
    let there = stack.database.at(&standby.url());
    eventually("the standby has the test's database", async || {
        standby.sql(
            "postgres",
            &format!(
                "SELECT count(*) FROM pg_database WHERE datname = '{}'",
                there.name
            ),
        ) == "1"
    })
    .await;
    let url = there.url(Login::Relay);
    let relay = stack.start_relay(&[("POSTROOM_DATABASE_URL", &url)]);
    eventually("the relay says why", async || {
        relay.logged().contains("is a standby") && relay.logged().contains("primary")
    })
    .await;
    assert_eq!(relay.health().map(|(ready, _)| ready), Some(false));
    // Dropped, it would try in vain to drop the database on the standby.
    std::mem::forget(there);
}

/// PostgreSQL cannot distinguish a running copy of its data folder from the original.
#[tokio::test(flavor = "multi_thread")]
async fn g7_a_copy_of_the_data_folder_meets_the_fence_at_the_broker() {
    let mut original = PgServer::start();
    let stack = Stack::on(&original, None).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay_with(&[LEASE]).await;
    let mut producer = stack.database.connect(Login::Producer).await;
    let publish = "SELECT outbox.publish('t', '1', key => 'k')";
    sqlx::query(publish).execute(&mut producer).await.unwrap();
    tap.distinct(1).await;
    drop(producer);
    original.stop();
    let copy = original.clone_folder();
    original.resume();
    relay.ready().await;
    let there = stack.database.at(&copy.url());
    let url = there.url(Login::Relay);
    let second = stack.start_relay(&[LEASE, ("POSTROOM_DATABASE_URL", &url)]);
    eventually("the second relay meets the fence", async || {
        second.logged().contains("postroom.fence.")
    })
    .await;
    let mut producer = there.connect(Login::Producer).await;
    sqlx::query(publish).execute(&mut producer).await.unwrap();
    let mut producer = stack.database.connect(Login::Producer).await;
    sqlx::query(publish).execute(&mut producer).await.unwrap();
    tap.distinct(2).await;
    assert_eq!(second.health().map(|(ready, _)| ready), Some(false));
    assert_eq!(tap.ids().len(), 2, "nothing comes from the copy");
}

/// G6: neither an open writer nor a prepared transaction nor a long reader holds anything back.
#[tokio::test(flavor = "multi_thread")]
async fn g6_open_prepared_and_reading_transactions_hold_nothing_back() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay_with(&[LEASE]).await;
    let load = Load {
        rounds: 15,
        ..load()
    };
    load.prepare(&stack.database).await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut writer = outbox::transaction::begin(&pool).await.unwrap();
    sqlx::query("SELECT outbox.publish('load', '1')")
        .execute(&mut *writer)
        .await
        .unwrap();
    let mut prepared = stack.database.connect(Login::Producer).await;
    let gid = stack.database.name.clone();
    for statement in [
        "BEGIN".to_owned(),
        "SELECT outbox.publish('load', '2')".to_owned(),
        format!("PREPARE TRANSACTION '{gid}'"),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut prepared)
            .await
            .unwrap();
    }
    let mut reader = stack.database.connect(Login::Owner).await;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM ledger")
        .execute(&mut reader)
        .await
        .unwrap();
    load.run(&stack.database).await;
    judged(&stack.database, &tap).await.assert_clean();
    let before = tap.ids().len();
    writer.commit().await.unwrap();
    let sql = format!("COMMIT PREPARED '{gid}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut prepared)
        .await
        .unwrap();
    tap.distinct(before + 2).await;
}

/// G6: the relay's floor rises above the rows of an open transaction although nothing is delivered, so that
/// the relay does not read these rows at every poll.
#[tokio::test(flavor = "multi_thread")]
async fn g6_a_large_open_transaction_is_not_read_by_every_poll() {
    const ROWS: usize = 12_000;
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay_with(&[LEASE]).await;
    let pool = stack.database.pool(Login::Producer).await;
    let owner = stack.database.pool(Login::Owner).await;
    let mut writer = outbox::transaction::begin(&pool).await.unwrap();
    let recorded = async || -> (i64, i64) {
        let newest = "SELECT (SELECT count(*) FROM outbox.checkpoint),
                             coalesce((SELECT max(floor) FROM unnest(c.floor_positions) AS floor), 0)
                      FROM outbox.checkpoint AS c ORDER BY c.id DESC LIMIT 1";
        let newest = sqlx::query_as(newest).fetch_optional(&owner).await.unwrap();
        newest.unwrap_or_default()
    };
    // Each batch of rows causes a checkpoint. The floor that the relay raises with one checkpoint is
    // recorded with the following one.
    let mut batches = 0;
    while recorded().await.1 < ROWS as i64 {
        assert!(batches < 6, "no floor after {batches} checkpoints");
        let before = recorded().await.0;
        sqlx::query("SELECT outbox.publish('load', '1') FROM generate_series(1, $1)")
            .bind(ROWS as i64)
            .execute(&mut *writer)
            .await
            .unwrap();
        eventually("a checkpoint is recorded", async || {
            recorded().await.0 > before
        })
        .await;
        batches += 1;
    }
    assert_eq!(tap.ids().len(), 0);
    writer.commit().await.unwrap();
    tap.distinct(batches * ROWS).await;
}
