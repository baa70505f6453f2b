//! A standby takes over from a relay that is killed or frozen.

use outbox::Outbox;
use postroom_testkit::{Login, Stack, Tap, eventually};

use crate::message;

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
