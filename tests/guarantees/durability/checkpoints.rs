//! Checkpoints are recorded when something happened, and only the newest are kept.

use std::collections::HashSet;

use postroom_testkit::{Database, Login, Stack, Tap, eventually};
use sqlx::{AssertSqlSafe, Executor as _};

const MESSAGES: i32 = 10_000;

/// A transaction with an id.
const OTHER: &str = "SELECT pg_current_xact_id()";

/// Number of the newest checkpoint, and the time of the relay's last statement on the session that polls.
const POLL: &str = "
SELECT (SELECT coalesce(max(id), 0) FROM outbox.checkpoint),
       (SELECT max(query_start)::text FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'postroom_test_relay' AND query LIKE '%pg_current_snapshot%')";

/// Number of the newest checkpoint, and how many are kept.
async fn checkpoints(database: &Database) -> (i64, i64) {
    sqlx::query_as("SELECT coalesce(max(id), 0), count(*) FROM outbox.checkpoint")
        .fetch_one(&mut database.connect(Login::Owner).await)
        .await
        .unwrap()
}

/// Publishes each message in a transaction of its own.
async fn publish(database: &Database, count: i32) {
    let mut producer = database.connect(Login::Producer).await;
    for sql in [
        "SET synchronous_commit = off".to_owned(),
        format!(
            "DO $$ BEGIN FOR i IN 1..{count} LOOP
                 PERFORM outbox.publish('t', to_jsonb(i), key => 'k' || i % 100); COMMIT;
             END LOOP; END $$"
        ),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut producer)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_idle_relay_records_nothing() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    publish(&stack.database, 10).await;
    tap.distinct(10).await;
    stack.delivered().await;
    // Who sees the statements of others.
    let mut admin = stack.database.connect(Login::Admin).await;
    let (mut newest, mut polls) = (None, HashSet::new());
    eventually("thirty polls in a row record nothing", async || {
        // Snapshots change, rows do not.
        admin.execute(OTHER).await.unwrap();
        let (last, poll): (i64, Option<String>) =
            sqlx::query_as(POLL).fetch_one(&mut admin).await.unwrap();
        // The last record may still be under way.
        if newest.replace(last) != Some(last) {
            polls.clear();
        }
        polls.extend(poll);
        polls.len() >= 30
    })
    .await;
}

#[tokio::test]
async fn g6_old_checkpoints_are_trimmed_while_ten_thousand_small_transactions_are_delivered() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let often = [("POSTROOM_PUBLISH_CHECKPOINT_INTERVAL", "1ms")];
    let _relay = stack.relay_with(&often).await;
    let mut most = 0;
    let watching = async {
        eventually("all are delivered", async || {
            most = checkpoints(&stack.database).await.1.max(most);
            tap.ids().len() == MESSAGES as usize
        })
        .await;
    };
    tokio::join!(publish(&stack.database, MESSAGES), watching);
    stack.delivered().await;
    // A slow machine makes few frames of many messages: some more, until trimming must have begun.
    while checkpoints(&stack.database).await.0 <= 200 {
        publish(&stack.database, 10).await;
        stack.delivered().await;
    }
    let (_, kept) = checkpoints(&stack.database).await;
    // Twenty are kept behind the newest, a hundred more may gather.
    assert!(most.max(kept) <= 121, "{most} checkpoints were kept");
}
