//! G1 to G4 and G7 with a real relay process, PostgreSQL and RabbitMQ.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::collections::HashMap;

use outbox::{Message, Outbox};
use postroom_testkit::{Login, Stack, Tap, eventually};

fn message(topic: &str, key: Option<&str>, number: i64) -> Message {
    let message = Message::bytes(topic, "text/plain", number.to_string()).unwrap();
    match key {
        Some(key) => message.key(key).unwrap(),
        None => message,
    }
}

#[tokio::test]
async fn g1_a_message_exists_if_and_only_if_its_transaction_committed() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let _relay = stack.relay().await;
    let pool = stack.database.pool(Login::Producer).await;
    let outbox = Outbox::new();
    let mut committed = Vec::new();
    for number in 0..40 {
        let mut tx = outbox::transaction::begin(&pool).await.unwrap();
        let id = outbox
            .publish(&mut tx, message("t", None, number))
            .await
            .unwrap();
        if number % 2 == 0 {
            tx.commit().await.unwrap();
            committed.push(id.to_string());
        } else {
            tx.rollback().await.unwrap();
        }
    }
    tap.distinct(committed.len()).await;
    stack.delivered().await;
    let mut seen: Vec<String> = tap.ids().into_iter().collect();
    seen.sort();
    committed.sort();
    assert_eq!(seen, committed);
}

#[tokio::test]
async fn g3_a_message_without_a_queue_waits_for_one_and_keeps_its_order() {
    let stack = Stack::new().await;
    let relay = stack.relay().await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    let messages = (0..30).map(|n| message("late", Some(["a", "b", "c"][n as usize % 3]), n));
    Outbox::new().publish_all(&mut tx, messages).await.unwrap();
    tx.commit().await.unwrap();
    let owner = stack.database.pool(Login::Owner).await;
    eventually("all are parked", async || {
        stack.database.undelivered_and_parked(&owner).await == (0, 30)
    })
    .await;
    let reasons: Vec<(String, i64)> =
        sqlx::query_as("SELECT reason, count(*) FROM outbox.parked GROUP BY 1 ORDER BY 1")
            .fetch_all(&owner)
            .await
            .unwrap();
    assert_eq!(
        reasons,
        [("behind".to_owned(), 27), ("unroutable".to_owned(), 3)]
    );
    // Parked rows survive the relay that parked them.
    relay.kill().await;
    let _relay = stack.relay().await;
    let tap = Tap::open(&stack.broker, "tap", "late").await;
    tap.distinct(30).await;
    stack.delivered().await;
    for (_, seen) in tap.first_by_key() {
        let numbers: Vec<i64> = seen
            .iter()
            .map(|s| String::from_utf8_lossy(&s.body).parse().unwrap())
            .collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert_eq!(numbers.len(), 10);
    }
}

/// A body by which its message is known, of about so many bytes.
fn body(number: usize, bytes: usize) -> Vec<u8> {
    let number = format!("{number} ");
    number
        .bytes()
        .cycle()
        .take(bytes.max(number.len()))
        .collect()
}

/// Bodies above a page's share are read apart from their rows, and end the page early.
#[tokio::test]
async fn bodies_of_all_sizes_arrive_as_they_were_written_and_in_order() {
    const SIZES: [usize; 7] = [1, 1_023, 1_024, 1_025, 3_000, 20_000, 100];
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    // A share of 1,024 bytes, and bodies of twice the page.
    let page = [
        ("POSTROOM_CAPTURE_PAGE_ROWS", "10"),
        ("POSTROOM_CAPTURE_PAGE_BYTES", "10240"),
    ];
    let _relay = stack.relay_with(&page).await;
    let pool = stack.database.pool(Login::Producer).await;
    let publish = async |tx: &mut sqlx::PgTransaction<'_>, numbers: std::ops::Range<usize>| {
        let messages = numbers.map(|number| {
            let body = body(number, SIZES[number % SIZES.len()]);
            let message = Message::bytes("t", "text/plain", body).unwrap();
            message.key(format!("key-{}", number / 70)).unwrap()
        });
        Outbox::new().publish_all(tx, messages).await.unwrap();
    };
    // The first is seen late: its rows lie below those of the second, which do not wait.
    let mut late = outbox::transaction::begin(&pool).await.unwrap();
    publish(&mut late, 0..70).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    publish(&mut tx, 70..140).await;
    tx.commit().await.unwrap();
    tap.distinct(70).await;
    late.commit().await.unwrap();
    tap.distinct(140).await;
    stack.delivered().await;
    for (key, seen) in tap.first_by_key() {
        let first = if key == "key-0" { 0 } else { 70 };
        assert_eq!(seen.len(), 70);
        for (number, seen) in (first..).zip(seen) {
            assert_eq!(seen.body, body(number, SIZES[number % SIZES.len()]));
        }
    }
}

#[tokio::test]
async fn g7_a_standby_takes_over_when_the_active_relay_is_killed() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let lease = [("POSTROOM_LEASE_TIMEOUT", "2s")];
    let first = stack.relay_with(&lease).await;
    let second = stack.relay_with(&lease).await;
    second.role("standby").await;
    let pool = stack.database.pool(Login::Producer).await;
    let publish = async |n: i64| {
        let mut tx = outbox::transaction::begin(&pool).await.unwrap();
        Outbox::new()
            .publish(&mut tx, message("t", Some("k"), n))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    publish(1).await;
    tap.distinct(1).await;
    first.kill().await;
    publish(2).await;
    second.role("active").await;
    tap.distinct(2).await;
    stack.delivered().await;
}

#[tokio::test]
async fn g7_a_frozen_relay_loses_its_lease_and_what_it_had_in_its_hands_is_its_successors() {
    const MESSAGES: usize = 20_000;
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let lease = [("POSTROOM_LEASE_TIMEOUT", "2s")];
    let first = stack.relay_with(&lease).await;
    let second = stack.relay_with(&lease).await;
    second.role("standby").await;
    let keys: Vec<String> = (0..MESSAGES).map(|n| format!("k{}", n % 50)).collect();
    let all = keys.iter().enumerate();
    let all = all.map(|(n, key)| message("t", Some(key), n as i64));
    let mut tx = outbox::transaction::begin(&stack.database.pool(Login::Producer).await)
        .await
        .unwrap();
    Outbox::new().publish_all(&mut tx, all).await.unwrap();
    tx.commit().await.unwrap();
    // With confirms on their way, and a record of those before.
    tap.distinct(500).await;
    first.signal("STOP");
    assert!(tap.ids().len() < MESSAGES, "it was done before it froze");
    second.role("active").await;
    first.signal("CONT");
    // The thawed relay neither publishes nor records the messages that it holds: its session is gone.
    eventually("it knows", async || first.logged().contains("database: ")).await;
    first.role("standby").await;
    tap.distinct(MESSAGES).await;
    stack.delivered().await;
    for (key, seen) in tap.first_by_key() {
        let order = seen.iter();
        let order: Vec<i64> = order
            .map(|s| String::from_utf8_lossy(&s.body).parse().unwrap())
            .collect();
        assert_eq!(order.len(), MESSAGES / 50);
        assert!(order.is_sorted(), "{key}: {order:?}");
    }
}

#[tokio::test]
async fn a_graceful_stop_records_everything_and_nothing_is_sent_twice() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut relay = Some(stack.relay().await);
    for round in 0..3 {
        let mut tx = outbox::transaction::begin(&pool).await.unwrap();
        // Every other message has one key, which takes a round trip for each.
        let key = |n| match n % 2 {
            0 => "slow".to_owned(),
            _ => format!("k{}", n % 50),
        };
        let keys: Vec<String> = (0..3_000).map(key).collect();
        let all = keys
            .iter()
            .enumerate()
            .map(|(n, key)| message("t", Some(key), n as i64));
        Outbox::new().publish_all(&mut tx, all).await.unwrap();
        tx.commit().await.unwrap();
        tap.distinct(round * 3_000 + 500).await;
        let status = relay.take().unwrap().stop().await;
        assert!(status.success());
        relay = Some(stack.relay().await);
    }
    tap.distinct(9_000).await;
    stack.delivered().await;
    assert_eq!(
        tap.seen().len(),
        9_000,
        "a graceful stop leaves nothing to repeat"
    );
}

/// Without any time, a stop leaves messages in flight that are not recorded.
#[tokio::test]
async fn g3_g4_a_graceful_stop_without_time_repeats_only_what_was_not_recorded() {
    const MESSAGES: usize = 20_000;
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let no_time = [("POSTROOM_LEASE_DRAIN_TIMEOUT", "0s")];
    let keys: Vec<String> = (0..MESSAGES).map(|n| format!("k{}", n % 50)).collect();
    let all = keys.iter().enumerate();
    let all = all.map(|(n, key)| message("t", Some(key), n as i64));
    let mut tx = outbox::transaction::begin(&stack.database.pool(Login::Producer).await)
        .await
        .unwrap();
    Outbox::new().publish_all(&mut tx, all).await.unwrap();
    tx.commit().await.unwrap();
    let relay = stack.relay_with(&no_time).await;
    tap.distinct(5_000).await;
    assert!(relay.stop().await.success());
    let recorded: Vec<String> = sqlx::query_scalar(
        "WITH c AS (SELECT * FROM outbox.checkpoint WHERE lane = 0 ORDER BY id DESC LIMIT 1)
         SELECT message_id::text FROM outbox.message AS m, c
         WHERE (pg_visible_in_snapshot(m.xid, c.delivered)
                OR pg_visible_in_snapshot(m.xid, c.frame) AND m.position <= c.watermark)
           AND NOT EXISTS (SELECT FROM outbox.parked AS p WHERE p.position = m.position)",
    )
    .fetch_all(&stack.database.pool(Login::Owner).await)
    .await
    .unwrap();
    assert!(
        (1..MESSAGES).contains(&recorded.len()),
        "{}",
        recorded.len()
    );
    let _relay = stack.relay_with(&no_time).await;
    tap.distinct(MESSAGES).await;
    stack.delivered().await;
    let mut copies: HashMap<String, usize> = HashMap::new();
    for seen in tap.seen() {
        *copies.entry(seen.id).or_default() += 1;
    }
    for id in &recorded {
        assert_eq!(copies.get(id), Some(&1), "{id} was recorded");
    }
    for (key, seen) in tap.first_by_key() {
        let order = seen.iter();
        let order: Vec<i64> = order
            .map(|s| String::from_utf8_lossy(&s.body).parse().unwrap())
            .collect();
        assert_eq!(order.len(), MESSAGES / 50);
        assert!(order.is_sorted(), "{key}: {order:?}");
    }
}

#[tokio::test]
async fn the_broker_connection_is_made_again_after_an_operator_closed_it() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "before", "#").await;
    let relay = stack.relay().await;
    drop(tap);
    stack.broker.close_connections();
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let pool = stack.database.pool(Login::Producer).await;
    let mut tx = outbox::transaction::begin(&pool).await.unwrap();
    Outbox::new()
        .publish(&mut tx, message("t", Some("k"), 1))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    tap.distinct(1).await;
    relay.ready().await;
}
