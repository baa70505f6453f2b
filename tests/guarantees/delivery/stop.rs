//! A graceful stop repeats only what it had no time to record.

use std::collections::HashMap;

use outbox::Outbox;
use postroom_testkit::{Login, Stack, Tap};

use crate::message;

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
