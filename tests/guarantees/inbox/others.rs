//! Others beside a consumer: another process that is frozen or about to park, a server
//! that has become a standby, a broker that is full.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use inbox::{Context, HandlerError, Remember};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use postroom_testkit::eventually;

use crate::world::{Placed, Running, World, insert_effect};

const WAITING: &str = "
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// When the statement began that has waited longest, in microseconds.
const WAITING_SINCE: &str = "
SELECT coalesce(1000000 * extract(epoch FROM min(query_start)), 0)::bigint FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'";

const RECORD: &str = "
INSERT INTO inbox.processed (consumer, message_id, slot)
VALUES ('billing', $1::uuid, extract(epoch FROM date_trunc('day', clock_timestamp(), 'UTC'))::bigint / 86400 % 64)";

const RECORD_KEY: &str = "
INSERT INTO inbox.idempotency_key (consumer, type, key) VALUES ('billing', 'orders.placed', 'frozen')";

async fn keep(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

/// Declares the queue, so that messages can wait for the consumer.
async fn declare(world: &World) {
    let declared = Running::start(
        &world.broker,
        "billing",
        world.consumer().on::<Placed, _, _>(keep),
    );
    declared.await.stop().await;
}

/// The statement that records a group's ids may wait for one of them, and look at what is parked before.
#[tokio::test]
async fn g4_a_group_meets_a_message_of_its_key_that_is_just_being_parked() {
    let world = World::new().await;
    declare(&world).await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    // Another process, which has lost its subscription or was killed, is just committing that it parks a message.
    let mut parking = outbox::transaction::begin(&world.database.admin)
        .await
        .unwrap();
    let record = sqlx::query(RECORD).bind(first);
    record.execute(&mut *parking).await.unwrap();
    sqlx::query(
        "INSERT INTO inbox.parked (consumer, state, reason, holds_key, due_at, topic, key, type,
                                   message_id, headers, payload)
         VALUES ('billing', 'waiting', 'failed', true, clock_timestamp() + interval '1 s',
                 'orders.placed', 'a', 'orders.placed', $1, '{}', '{\"n\": 1, \"customer\": \"a\"}')",
    )
    .bind(first.to_string())
    .execute(&mut *parking)
    .await
    .unwrap();
    world.broker.publish_as(first, &Placed::new("a", 1)).await;
    world.broker.publish_as(second, &Placed::new("a", 2)).await;
    let builder = world
        .consumer()
        .workers(1)
        .messages_per_transaction(10)
        .on::<Placed, _, _>(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("the group waits", || async {
        world.database.count(WAITING).await > 0
    })
    .await;
    parking.commit().await.unwrap();
    eventually("both are handled", || async {
        world.database.effects("a").await.len() == 2
    })
    .await;
    running.stop().await;
    assert_eq!(world.database.effects("a").await, [1, 2]);
}

/// A session that is idle for longer than a handler may take is ended, if it is the consumer's own. If not, waiting
/// ends: a client that gives up leaves its statement at the server, and the pool with a connection less.
#[tokio::test]
async fn a_process_that_is_frozen_in_a_handler_does_not_hold_up_others() {
    let world = World::new().await;
    let key = |placed: &Placed| (placed.n == 2).then(|| "frozen".to_owned());
    let builder = world
        .consumer()
        .handler_timeout(Duration::from_millis(100))
        .idempotency_key(Remember::Forever, key)
        .on::<Placed, _, _>(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    let others = world.database.pool(2);
    let mut frozen = Vec::new();
    for (n, pool) in [(0, &others), (1, &world.database.admin)] {
        let id = Uuid::now_v7();
        let mut tx = outbox::transaction::begin(pool).await.unwrap();
        let record = sqlx::query(RECORD).bind(id);
        record.execute(&mut *tx).await.unwrap();
        frozen.push(tx);
        let event = Placed::new(&format!("frozen-{n}"), n);
        world.broker.publish_as(id, &event).await;
    }
    let mut with_key = outbox::transaction::begin(&others).await.unwrap();
    sqlx::query(RECORD_KEY)
        .execute(&mut *with_key)
        .await
        .unwrap();
    world.broker.publish(&Placed::new("frozen-2", 2)).await;
    eventually("three sessions wait", || async {
        world.database.count(WAITING).await == 3
    })
    .await;
    let since = world.database.count(WAITING_SINCE).await;
    eventually("the consumer's own are ended", || async {
        world.database.effects("frozen-0").await == [0]
            && world.database.effects("frozen-2").await == [2]
    })
    .await;
    assert!(with_key.commit().await.is_err(), "it was ended");
    eventually("the other is waited for anew", || async {
        let now = world.database.count(WAITING_SINCE).await;
        now > since + 10_000_000
    })
    .await;
    assert!(frozen.remove(0).commit().await.is_err(), "it was ended");
    frozen.remove(0).rollback().await.unwrap();
    eventually("it is handled", || async {
        world.database.effects("frozen-1").await == [1]
    })
    .await;
    running.stop().await;
}

/// Sessions that were made before a fail-over lead to what is a standby now.
#[tokio::test]
async fn sessions_on_a_standby_are_not_used_again() {
    let world = World::new().await;
    let old = Arc::new(AtomicBool::new(true));
    let leads_to_old = Arc::clone(&old);
    let pool = PgPoolOptions::new()
        .max_connections(12)
        .after_connect(move |connection, _| {
            // The server then refuses writes with the same SQLSTATE as a standby.
            let set = if leads_to_old.load(Ordering::SeqCst) {
                "SET default_transaction_read_only = on"
            } else {
                "SELECT 1"
            };
            Box::pin(async move { sqlx::query(set).execute(connection).await.map(drop) })
        })
        .connect_lazy(world.database.url().as_str())
        .unwrap();
    let builder = world.consumer().database(pool).on::<Placed, _, _>(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..20 {
        let event = Placed::new(&format!("c{n}"), n);
        world.broker.publish(&event).await;
    }
    let sessions = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = 'postroom_test_consumer'";
    eventually("sessions are made", || async {
        world.database.count(sessions).await > 0
    })
    .await;
    old.store(false, Ordering::SeqCst);
    eventually("all are handled by others", || async {
        world.database.count("SELECT count(*) FROM effect").await == 20
    })
    .await;
    running.stop().await;
}

/// Old and new processes may overlap.
#[expect(clippy::disallowed_methods, reason = "any client")]
#[tokio::test]
async fn a_connection_limit_is_waited_out() {
    let world = World::new().await;
    declare(&world).await;
    let limit = format!("vhost-limits/{}/max-connections", world.broker.vhost.name);
    let none = json!({ "value": 0 });
    world.broker.vhost.request("PUT", &limit, Some(&none));
    let running = Running::spawn(world.consumer().on::<Placed, _, _>(keep));
    world.broker.publish(&Placed::new("a", 1)).await;
    // As often as the consumer, at least.
    for _ in 0..20 {
        let properties = lapin::ConnectionProperties::default();
        let refused = lapin::Connection::connect(&world.broker.url(), properties).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("limit"), "{refused}");
    }
    assert!(!running.is_finished(), "the consumer gave up");
    world.broker.vhost.request("DELETE", &limit, None);
    eventually("it is handled", || async {
        assert!(!running.is_finished(), "the consumer gave up");
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}
