//! Checkpoints are recorded when something happened, and only the newest are kept.

use postroom_testkit::{Database, Login, Stack, Tap, eventually};
use sqlx::AssertSqlSafe;

const MESSAGES: i32 = 10_000;

/// Number of the newest checkpoint, how many are kept, and the server's clock in seconds.
async fn checkpoints(database: &Database) -> (i64, i64, f64) {
    sqlx::query_as(
        "SELECT coalesce(max(id), 0), count(*), extract(epoch FROM clock_timestamp())::float8
         FROM outbox.checkpoint",
    )
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
    // The last record may still be under way.
    let mut before = checkpoints(&stack.database).await;
    eventually(
        "the last record is three quarters of a second old",
        async || {
            let now = checkpoints(&stack.database).await;
            if now.0 != before.0 {
                before = now;
            }
            now.2 - before.2 > 0.75
        },
    )
    .await;
    // Other tests' transactions come and go on the server meanwhile: snapshots change, rows do not.
    eventually("three seconds pass", async || {
        let now = checkpoints(&stack.database).await;
        assert_eq!(
            now.0, before.0,
            "a checkpoint was recorded although nothing happened"
        );
        now.2 - before.2 > 3.75
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
    let (_, kept, _) = checkpoints(&stack.database).await;
    // Twenty are kept behind the newest, a hundred more may gather.
    assert!(most.max(kept) <= 121, "{most} checkpoints were kept");
}

#[tokio::test]
async fn a_busy_relay_records_at_most_some_twenty_times_a_second() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    let (first, _, began) = checkpoints(&stack.database).await;
    // Durable before they are seen: no frame needs a commit of its own.
    let mut producer = stack.database.connect(Login::Producer).await;
    for count in 1..=300 {
        sqlx::query("SELECT outbox.publish('t', '1')")
            .execute(&mut producer)
            .await
            .unwrap();
        tap.distinct(count).await;
    }
    let (last, _, ended) = checkpoints(&stack.database).await;
    let rate = (last - first) as f64 / (ended - began);
    assert!(rate < 30.0, "{rate:.0} checkpoints a second");
}
