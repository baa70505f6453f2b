//! The broker fails under load: restarted, killed, short of memory, full, without its exchange.
#![allow(clippy::expect_used)] // Helpers of tests.

use lapin::types::{AMQPValue, FieldTable, LongString};
use postroom_testkit::{Login, PgServer, RabbitNode, Stack, Tap, declare, eventually, short};
use support::{judged, load::Load};

fn load() -> Load {
    Load {
        slow: false,
        writers: 12,
        ..Load::new(40)
    }
}

/// A database on the shared server, a virtual host on a node of the test's own.
async fn stack_on(node: &RabbitNode) -> Stack {
    let mut stack = Stack::new().await;
    stack.broker = postroom_testkit::VirtualHost::new_on(&node.url(), &node.admin_url());
    stack
}

/// A durable queue that keeps what it holds through a restart; read when all is over.
async fn keep(stack: &Stack, queue: &str) {
    let (_connection, channel) = stack.broker.channel().await;
    let mut quorum = FieldTable::default();
    quorum.insert(
        short("x-queue-type"),
        AMQPValue::LongString(LongString::from("quorum")),
    );
    declare(&channel, queue, "#", quorum).await;
}

async fn read(stack: &Stack, queue: &str) -> Tap {
    let (connection, channel) = stack.broker.channel().await;
    Tap::read(connection, channel, queue).await
}

async fn delivered(stack: &Stack) -> i64 {
    let pool = stack.database.pool(Login::Owner).await;
    stack.database.undelivered_and_parked(&pool).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_the_broker_is_restarted_and_killed() {
    let mut node = RabbitNode::start();
    let stack = stack_on(&node).await;
    keep(&stack, "kept").await;
    let relay = stack.relay().await;
    let load = load();
    load.prepare(&stack.database).await;
    // Starting a node takes the test's thread for as long as it takes, so the producers are connected before.
    load.during(&stack.database, async {
        node.stop();
        node.resume();
        relay.ready().await;
        node.kill();
        node.resume();
        relay.ready().await;
    })
    .await;
    stack.delivered().await;
    let tap = read(&stack, "kept").await;
    judged(&stack.database, &tap).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_memory_alarm_blocks_and_nothing_is_lost_or_asked_of_producers() {
    let node = RabbitNode::start();
    let stack = stack_on(&node).await;
    keep(&stack, "kept").await;
    let relay = stack.relay().await;
    node.control(&["set_vm_memory_high_watermark", "0.0000001"]);
    let load = Load {
        rounds: 15,
        ..load()
    };
    load.prepare(&stack.database).await;
    // Producers finish while the broker takes nothing.
    load.run(&stack.database).await;
    eventually("the relay says that it is blocked", async || {
        relay
            .health()
            .is_some_and(|(ready, health)| !ready && health["broker"] == "blocked")
    })
    .await;
    assert!(delivered(&stack).await > 0, "messages wait in the outbox");
    node.control(&["set_vm_memory_high_watermark", "0.4"]);
    relay.ready().await;
    stack.delivered().await;
    let tap = read(&stack, "kept").await;
    judged(&stack.database, &tap).await.assert_clean();
}

/// Of two bound queues, one refuses when it is full: the message is nacked although the other queue took it,
/// so the other queue sees repetitions; both see every message, in order.
#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_full_queue_that_rejects_holds_its_keys_and_loses_nothing() {
    let stack = Stack::new().await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let (_connection, channel) = stack.broker.channel().await;
    let mut full = FieldTable::default();
    full.insert(short("x-max-length"), AMQPValue::LongInt(20));
    full.insert(
        short("x-overflow"),
        AMQPValue::LongString(LongString::from("reject-publish")),
    );
    declare(&channel, "small", "#", full).await;
    let _relay = stack.relay().await;
    let load = Load {
        rounds: 8,
        ..load()
    };
    load.prepare(&stack.database).await;
    load.run(&stack.database).await;
    let pool = stack.database.pool(Login::Owner).await;
    eventually("messages are parked because a queue refuses", async || {
        let parked: i64 =
            sqlx::query_scalar("SELECT count(*) FROM outbox.parked WHERE reason = 'nacked'")
                .fetch_one(&pool)
                .await
                .expect("counting parked messages");
        parked > 0
    })
    .await;
    let small = read(&stack, "small").await;
    judged(&stack.database, &small).await.assert_clean();
    let report = judged(&stack.database, &tap).await;
    report.assert_clean();
    assert!(
        report.repeats > 0,
        "the other queue kept what was refused here"
    );
    stack.delivered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_the_exchange_is_deleted_and_declared_again() {
    let stack = Stack::new().await;
    keep(&stack, "kept").await;
    let relay = stack.relay().await;
    let load = Load {
        rounds: 15,
        ..load()
    };
    load.prepare(&stack.database).await;
    tokio::join!(load.run(&stack.database), async {
        let path = format!("exchanges/{}/postroom", stack.broker.name);
        stack.broker.request("DELETE", &path, None);
        eventually("the relay says what is missing", async || {
            relay
                .logged()
                .contains("exchange \"postroom\" cannot be used")
                || relay.logged().contains("NOT_FOUND")
        })
        .await;
        // The relay declares the exchange; the binding is the consumer's to make again.
        keep(&stack, "kept").await;
    });
    stack.delivered().await;
    let tap = read(&stack, "kept").await;
    judged(&stack.database, &tap).await.assert_clean();
}

/// No servers of the broker's are needed for this one: PostgreSQL is cut off instead.
#[tokio::test(flavor = "multi_thread")]
async fn g7_a_frozen_database_ends_the_session() {
    let postgres = PgServer::start();
    let stack = Stack::on(&postgres, None).await;
    let tap = Tap::open(&stack.broker, "tap", "#").await;
    let relay = stack.relay_with(&[("POSTROOM_LEASE_TIMEOUT", "2s")]).await;
    let mut producer = stack.database.connect(Login::Producer).await;
    sqlx::query("SELECT outbox.publish('t', '1')")
        .execute(&mut producer)
        .await
        .unwrap();
    tap.distinct(1).await;
    postgres.signal("STOP");
    eventually("the relay gives its session up", async || {
        relay
            .health()
            .is_some_and(|(ready, health)| !ready && health["role"] == "starting")
    })
    .await;
    postgres.signal("CONT");
    relay.ready().await;
    sqlx::query("SELECT outbox.publish('t', '2')")
        .execute(&mut producer)
        .await
        .unwrap();
    tap.distinct(2).await;
}
