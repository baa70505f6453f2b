//! The broker is short of disk, or no queue is bound, under load.
#![allow(clippy::expect_used)] // Helpers of tests.

use std::collections::{HashMap, HashSet};

use history::judge_queue;
use lapin::{
    options::QueueDeleteOptions,
    types::{AMQPValue, FieldTable, LongString},
};
use postroom_testkit::{Login, RabbitNode, Stack, Tap, declare, eventually, in_time, short};
use sqlx::PgPool;
use support::{
    judged,
    load::{Load, committed},
};

fn load() -> Load {
    Load {
        writers: 6,
        slow: false,
        ..Load::new(0)
    }
}

/// Declares a durable queue bound to everything, without a reader yet.
async fn bind(stack: &Stack, queue: &str) {
    let (_connection, channel) = stack.broker.channel().await;
    let mut quorum = FieldTable::default();
    quorum.insert(
        short("x-queue-type"),
        AMQPValue::LongString(LongString::from("quorum")),
    );
    declare(&channel, queue, "#", quorum).await;
}

/// Reads a queue. Whoever judges it waits until nothing is missing, and not for a count: that of a
/// quorum queue is 0 when its leader does not answer within 250 ms.
async fn read(stack: &Stack, queue: &str) -> Tap {
    let (connection, channel) = stack.broker.channel().await;
    Tap::read(connection, channel, queue).await
}

/// Waits until the outbox holds so many more undelivered messages than now.
async fn waiting(stack: &Stack, count: i64) {
    let pool = stack.database.pool(Login::Owner).await;
    let (before, _) = stack.database.undelivered_and_parked(&pool).await;
    eventually("producers go on and messages wait", async || {
        stack.database.undelivered_and_parked(&pool).await.0 >= before + count
    })
    .await;
}

/// Waits until so many messages are parked because no queue takes them, or behind such a one.
async fn parked(pool: &PgPool, count: i64) {
    eventually("messages are parked", async || {
        let parked: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox.parked")
            .fetch_one(pool)
            .await
            .expect("counting parked messages");
        parked >= count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_disk_alarm_blocks_and_nothing_is_lost_or_asked_of_producers() {
    let node = RabbitNode::start();
    let mut stack = Stack::new().await;
    stack.broker = postroom_testkit::VirtualHost::new_on(&node.url(), &node.admin_url());
    bind(&stack, "kept").await;
    let relay = stack.relay().await;
    let load = load();
    load.prepare(&stack.database).await;
    load.during(&stack.database, async {
        for _ in 0..2 {
            // A petabyte: no disk has that much free.
            node.control(&["set_disk_free_limit", "1000000000000000"]);
            eventually("the relay says that it is blocked", async || {
                relay
                    .health()
                    .is_some_and(|(ready, health)| !ready && health["broker"] == "blocked")
            })
            .await;
            waiting(&stack, 500).await;
            node.control(&["set_disk_free_limit", "10MB"]);
            relay.ready().await;
        }
    })
    .await;
    stack.delivered().await;
    let tap = read(&stack, "kept").await;
    judged(&stack.database, &tap).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_messages_written_before_any_queue_is_bound_arrive_in_order() {
    let stack = Stack::new().await;
    let _relay = stack.relay().await;
    let load = load();
    load.prepare(&stack.database).await;
    let pool = stack.database.pool(Login::Owner).await;
    load.during(&stack.database, async {
        parked(&pool, 500).await;
        bind(&stack, "late").await;
        // The relay has to publish parked messages faster than new ones are written.
        eventually("nothing is parked any more", async || {
            stack.database.undelivered_and_parked(&pool).await.1 == 0
        })
        .await;
    })
    .await;
    stack.delivered().await;
    let tap = read(&stack, "late").await;
    judged(&stack.database, &tap).await.assert_clean();
}

/// The messages in a deleted queue are lost with it. All others arrive in the next queue: of
/// each key everything after some place, without a gap, in order.
#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_queue_is_deleted_and_its_successor_gets_everything_since() {
    let stack = Stack::new().await;
    bind(&stack, "first").await;
    let relay = stack.relay().await;
    let load = load();
    load.prepare(&stack.database).await;
    let pool = stack.database.pool(Login::Owner).await;
    let mut gone_by_nature = HashSet::new();
    load.during(&stack.database, async {
        eventually("the first queue holds messages", async || {
            relay.metric("postroom_relay_delivered_total") >= 300.0
        })
        .await;
        let (_connection, channel) = stack.broker.channel().await;
        channel
            .queue_delete(short("first"), QueueDeleteOptions::default())
            .await
            .expect("deleting the queue");
        parked(&pool, 1).await;
        // All messages that the first queue may have held are committed by now.
        let before = committed(&stack.database).await;
        gone_by_nature.extend(before.into_iter().map(|message| message.id));
        parked(&pool, 500).await;
        bind(&stack, "second").await;
        eventually("nothing is parked any more", async || {
            stack.database.undelivered_and_parked(&pool).await.1 == 0
        })
        .await;
    })
    .await;
    stack.delivered().await;
    let second = read(&stack, "second").await;
    let committed = committed(&stack.database).await;
    let report = || {
        let places: HashMap<&str, i64> =
            committed.iter().map(|c| (c.id.as_str(), c.place)).collect();
        let begins: HashMap<String, i64> = second
            .first_by_key()
            .into_iter()
            .filter_map(|(key, seen)| Some((key, *places.get(seen.first()?.id.as_str())?)))
            .collect();
        let mut expected = committed.clone();
        expected.retain(|message| {
            let begins = message.key.as_ref().and_then(|key| begins.get(key));
            begins.is_some_and(|begins| message.place >= *begins)
                || !gone_by_nature.contains(&message.id)
        });
        judge_queue(&expected, &support::history_of(&second))
    };
    in_time(async || report().lost.is_empty()).await;
    let report = report();
    report.assert_clean();
    assert!(report.seen >= 500, "everything parked came: {report}");
}
