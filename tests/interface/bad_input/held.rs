//! Operators beside a relay that works: rows that they have locked, and rows that they give up.

use std::time::Duration;

use postroom_testkit::{Login, Proxy, Stack, Tap, Wire, eventually};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

async fn publish(stack: &Stack, arguments: &str, times: u32) {
    let sql = format!("SELECT outbox.publish({arguments}) FROM generate_series(1, {times})");
    let mut producer = stack.database.connect(Login::Producer).await;
    producer.execute(AssertSqlSafe(sql)).await.unwrap();
}

async fn parked(stack: &Stack) -> i64 {
    let mut owner = stack.database.connect(Login::Owner).await;
    let count = "SELECT count(*) FROM outbox.parked";
    sqlx::query_scalar(count)
        .fetch_one(&mut owner)
        .await
        .unwrap()
}

/// A client that does not commit by itself is enough.
#[tokio::test]
async fn g3_a_parked_row_that_somebody_has_locked_holds_up_nothing_else() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "bound").await;
    let lease = ("POSTROOM_LEASE_TIMEOUT", "1s");
    let relay = stack.relay_with(&[lease]).await;
    publish(&stack, "'unbound', '1', key => 'a'", 1).await;
    eventually("it is parked", async || parked(&stack).await == 1).await;
    let mut operator = stack.database.connect(Login::Owner).await;
    let mut looking = operator.begin().await.unwrap();
    let lock = "SELECT FROM outbox.parked FOR UPDATE";
    looking.execute(lock).await.unwrap();
    // Meanwhile the message is tried again and again, for longer than a lease lasts.
    let late = Tap::open(&stack.broker, "late", "unbound").await;
    late.distinct(1).await;
    let began = std::time::Instant::now();
    let mut published = 0;
    while began.elapsed() < Duration::from_secs(8) {
        publish(&stack, "'bound', '2'", 10).await;
        published += 10;
        tap.distinct(published).await;
    }
    looking.rollback().await.unwrap();
    eventually("it is forgotten", async || parked(&stack).await == 0).await;
    assert_eq!(late.seen().len(), 1, "it was sent again");
    assert!(relay.metric("postroom_relay_sessions_lost_total") < 1.0);
}

/// A message that is discarded before its frame is done would come back with the frame.
#[tokio::test]
async fn a_discarded_message_does_not_come_back_with_the_next_relay() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.broker.url();
    let wire = Proxy::new(&url, Wire::Forward).await;
    let through = wire.url(&url);
    let relay = stack.relay_with(&[("POSTROOM_AMQP_URL", &through)]).await;
    wire.set(Wire::Refuse).await;
    publish(&stack, "'first', '1', key => 'a'", 1).await;
    let soon = "'later', '2', deliver_after => clock_timestamp() + interval '1 second'";
    publish(&stack, soon, 1).await;
    eventually("it is parked", async || parked(&stack).await == 1).await;
    let discarded = stack
        .command(&["parked", "discard", "--reason", "scheduled"])
        .await;
    assert!(discarded.stdout.contains("1 discarded"), "{discarded:?}");
    assert!(relay.stop().await.success());
    wire.set(Wire::Forward).await;
    let _relay = stack.relay_with(&[("POSTROOM_AMQP_URL", &through)]).await;
    tap.distinct(1).await;
    eventually("it is dropped", async || parked(&stack).await == 0).await;
    stack.delivered().await;
    assert!(tap.seen().iter().all(|seen| seen.topic == "first"));
}

/// Dropped by the relay, it stays so when the relay dies before the frame is done.
#[tokio::test]
async fn discarded_and_dropped_messages_stay_so_after_a_crash() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "hot").await;
    let url = stack.broker.url();
    let wire = Proxy::new(&url, Wire::Slow(Duration::from_millis(30))).await;
    let through = wire.url(&url);
    let relay = stack.relay_with(&[("POSTROOM_AMQP_URL", &through)]).await;
    let frame =
        "BEGIN; SELECT outbox.publish('hot', '1', key => 'hot') FROM generate_series(1, 200);
                 SELECT outbox.publish('unbound', '2', key => 'k'); COMMIT";
    let mut producer = stack.database.connect(Login::Producer).await;
    producer.execute(frame).await.unwrap();
    eventually("it is parked", async || parked(&stack).await == 1).await;
    let discarded = stack
        .command(&["parked", "discard", "--reason", "unroutable"])
        .await;
    assert!(discarded.stdout.contains("1 discarded"), "{discarded:?}");
    eventually("it is dropped", async || {
        relay.metric("postroom_relay_dropped_total") > 0.0
    })
    .await;
    let recorded = || relay.metric("postroom_relay_checkpoints_total");
    let before = recorded();
    eventually("that would be recorded", async || recorded() > before + 2.0).await;
    relay.kill().await;
    assert!(tap.ids().len() < 200, "the frame is done");
    wire.set(Wire::Forward).await;
    let late = Tap::open(&stack.broker, "late", "unbound").await;
    let _relay = stack.relay_with(&[("POSTROOM_AMQP_URL", &through)]).await;
    tap.distinct(200).await;
    eventually("it is forgotten", async || parked(&stack).await == 0).await;
    stack.delivered().await;
    assert_eq!(late.seen().len(), 0);
}

#[tokio::test]
async fn messages_that_expire_in_memory_while_the_broker_is_away_are_dropped() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let url = stack.broker.url();
    let wire = Proxy::new(&url, Wire::Forward).await;
    let relay = stack
        .relay_with(&[("POSTROOM_AMQP_URL", &wire.url(&url))])
        .await;
    wire.set(Wire::Refuse).await;
    let soon = "'code', '1', key => 'a', expires_at => clock_timestamp() + interval '2 seconds'";
    publish(&stack, soon, 1).await;
    eventually("it is in memory", async || {
        relay.metric("postroom_relay_window_rows") >= 1.0
    })
    .await;
    publish(&stack, "'other', '2', key => 'a'", 1).await;
    let mut owner = stack.database.connect(Login::Owner).await;
    eventually("its time is over", async || {
        let over = "SELECT bool_or(expires_at < clock_timestamp()) FROM outbox.message";
        sqlx::query_scalar(over)
            .fetch_one(&mut owner)
            .await
            .unwrap()
    })
    .await;
    wire.set(Wire::Forward).await;
    tap.distinct(1).await;
    stack.delivered().await;
    assert!(tap.seen().iter().all(|seen| seen.topic == "other"));
    assert!(relay.metric("postroom_relay_dropped_total") >= 1.0);
}

/// As when a message is written again for another topic.
#[tokio::test]
async fn two_messages_of_one_id_are_told_apart_by_their_topics() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "bound").await;
    let _relay = stack.relay().await;
    let both = "BEGIN;
        SELECT outbox.publish('bound', '1', message_id => '01a21e50-23c8-74b6-b2ce-61bd1fc0db92');
        SELECT outbox.publish('unbound', '1', message_id => '01a21e50-23c8-74b6-b2ce-61bd1fc0db92');
        COMMIT";
    let mut producer = stack.database.connect(Login::Producer).await;
    producer.execute(both).await.unwrap();
    let mut owner = stack.database.connect(Login::Owner).await;
    eventually("one is parked, and tried again", async || {
        let tried =
            "SELECT string_agg(topic, ' ') = 'unbound' AND min(attempts) > 2 FROM outbox.parked";
        let tried: Option<bool> = sqlx::query_scalar(tried)
            .fetch_one(&mut owner)
            .await
            .unwrap();
        tried == Some(true)
    })
    .await;
    assert_eq!(tap.seen().len(), 1);
}
