//! Deliveries that arrive while the message before them leaves `inbox.parked`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use inbox::{Context, Delivery, HandlerError, Incoming, Outcome, TransactionLayer};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::{Layer, ServiceExt, service_fn};
use uuid::Uuid;

use postroom_testkit::eventually;

use crate::world::{Placed, Running, World, insert_effect, metric};

const PARK: &str = "
INSERT INTO inbox.parked (consumer, state, reason, holds_key, due_at, topic, key, type, message_id,
                          headers, payload)
VALUES ('billing', 'waiting', 'failed', true, clock_timestamp(), 'orders.placed', 'a',
        'orders.placed', 'm-1', '{}', '{\"n\": 1, \"customer\": \"a\"}')";

const BEHIND: &str = "
INSERT INTO inbox.parked (consumer, state, reason, holds_key, topic, key, type, message_id,
                          headers, payload)
VALUES ('billing', 'waiting', 'behind', true, 'orders.placed', 'a', 'orders.placed', 'm-2', '{}',
        '{\"n\": 2, \"customer\": \"a\"}')";

const WAITING: &str = "
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'";

fn delivery(customer: &str, n: i64) -> Delivery {
    let mut message = Incoming::default();
    message.message_id = Some(Uuid::now_v7().to_string());
    message.topic = "orders.placed".into();
    message.key = Some(customer.into());
    Delivery::new(
        message,
        serde_json::to_vec(&Placed::new(customer, n)).unwrap(),
    )
}

#[tokio::test]
async fn a_delivery_waits_for_the_row_that_leaves_and_then_goes_on() {
    let world = World::new().await;
    world.database.execute(PARK).await;
    let handler = service_fn(|mut ctx: Context| async move {
        let event: Placed = serde_json::from_slice(ctx.body())?;
        insert_effect(&mut ctx, &event).await?;
        Ok::<_, HandlerError>(())
    });
    let service = TransactionLayer::new(world.database.pool(2), "billing").layer(handler);
    // As the worker does at the end of an attempt, but not committed yet.
    let mut leaving = outbox::transaction::begin(&world.database.admin)
        .await
        .unwrap();
    for statement in [
        "DELETE FROM inbox.parked",
        "SELECT inbox.release_next('billing', 'a')",
    ] {
        sqlx::query(statement).execute(&mut *leaving).await.unwrap();
    }
    let arriving = tokio::spawn(service.clone().oneshot(delivery("a", 2)));
    eventually("the delivery waits", || async {
        world.database.count(WAITING).await == 1
    })
    .await;
    leaving.commit().await.unwrap();
    assert_eq!(arriving.await.unwrap().unwrap(), Outcome::Handled);
    assert_eq!(world.database.effects("a").await, [2]);
    assert!(world.database.parked().await.is_empty());
}

#[tokio::test]
async fn a_delivery_does_not_wait_for_a_handler_of_a_parked_message() {
    let world = World::new().await;
    world.database.execute(PARK).await;
    // As the worker does while a handler runs.
    let mut handling = outbox::transaction::begin(&world.database.admin)
        .await
        .unwrap();
    sqlx::query("SELECT id FROM inbox.parked FOR NO KEY UPDATE")
        .execute(&mut *handling)
        .await
        .unwrap();
    let handler = service_fn(|_: Context| async { Err::<(), _>(HandlerError::reject("not now")) });
    let service = TransactionLayer::new(world.database.pool(2), "billing").layer(handler);
    let outcome = service.clone().oneshot(delivery("a", 2)).await.unwrap();
    assert_eq!(outcome, Outcome::Parked(inbox::Reason::Behind));
    handling.rollback().await.unwrap();
}

#[tokio::test]
async fn a_row_that_leaves_waits_for_the_delivery_behind_it_and_releases_it() {
    let world = World::new().await;
    world.database.execute(PARK).await;
    // As a delivery does that parks itself, but not committed yet.
    let mut arriving = outbox::transaction::begin(&world.database.admin)
        .await
        .unwrap();
    for statement in ["SELECT id FROM inbox.parked FOR KEY SHARE", BEHIND] {
        sqlx::query(statement)
            .execute(&mut *arriving)
            .await
            .unwrap();
    }
    let handler = |mut ctx: Context, event: Placed| async move {
        insert_effect(&mut ctx, &event).await?;
        Ok::<_, HandlerError>(())
    };
    let builder = world.consumer().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("the worker waits to delete the row", || async {
        world.database.count(WAITING).await == 1
    })
    .await;
    arriving.commit().await.unwrap();
    eventually("both are handled", || async {
        world.database.effects("a").await == [1, 2] && world.database.parked().await.is_empty()
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn keys_that_park_and_drain_all_the_time_lose_nothing_and_stay_in_order() {
    const KEYS: i64 = 12;
    const MESSAGES: i64 = 60;
    let world = World::new().await;
    let calls = Arc::new(AtomicU32::new(0));
    let handler = {
        let calls = Arc::clone(&calls);
        move |mut ctx: Context, event: Placed| {
            // Not in step with the keys: each fails now and then, first or parked.
            let fails = calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(7);
            async move {
                insert_effect(&mut ctx, &event).await?;
                if fails {
                    return Err(HandlerError::retry("now and then"));
                }
                Ok(())
            }
        }
    };
    let builder = world
        .consumer()
        .attempts_in_place(1)
        .max_attempts(1_000)
        .parked_workers(3)
        .backoff_parked(Duration::from_millis(1), Duration::from_millis(2))
        .on::<Placed, _, _>(handler);
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..MESSAGES {
        for key in 0..KEYS {
            world
                .broker
                .publish(&Placed::new(&format!("k{key}"), n))
                .await;
        }
    }
    eventually("all are handled", || async {
        world.database.count("SELECT count(*) FROM effect").await == KEYS * MESSAGES
            && world.database.parked().await.is_empty()
    })
    .await;
    running.stop().await;
    let counted = recorder.handle().render();
    // The sweep, which would hide a row that its predecessor did not release, did not run.
    let orphans = metric(&counted, "postroom_inbox_orphans_total");
    assert_eq!(orphans, Some(0.0), "{counted}");
    let expected: Vec<i64> = (0..MESSAGES).collect();
    for key in 0..KEYS {
        assert_eq!(world.database.effects(&format!("k{key}")).await, expected);
    }
}
