//! G5 by meaning: of events with one idempotency key one has its effect, whatever their message ids.

mod concurrent;
mod expiry;
mod layers;
mod parked;
mod scope;
mod together;

use inbox::{ConsumerBuilder, Context, HandlerError, Remember};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use postroom_testkit::eventually;
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::world::{Placed, Running, World, insert_effect, metric};

/// Keys of the consumer `billing`, with their types.
const KEYS: &str = "
SELECT concat_ws(' ', type, key) FROM inbox.idempotency_key WHERE consumer = 'billing' ORDER BY 1";

/// Sessions that wait for another one's key.
const WAITING: &str = "
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
  AND query LIKE '%INTO inbox.idempotency_key%'";

const RECORDED_IDS: &str = "SELECT count(*) FROM inbox.processed";

/// Returns the key of an order: events of one order and different customers have one meaning and different ordering
/// keys, so that the inbox handles them at the same time.
fn order(placed: &Placed) -> String {
    format!("order {}", placed.n)
}

async fn keep(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    Ok(insert_effect(&mut ctx, &event).await?)
}

/// Begins a consumer with one effect for each order.
fn consumer(world: &World) -> ConsumerBuilder {
    world.consumer().idempotency_key(Remember::Forever, order)
}

async fn waits(admin: &PgPool) -> bool {
    let waiting = sqlx::query_scalar(WAITING).fetch_one(admin).await;
    waiting.is_ok_and(|waiting: i64| waiting > 0)
}

/// Returns the effects of all customers, as `customer n`.
async fn effects(world: &World) -> Vec<String> {
    let effects = "SELECT concat_ws(' ', customer, n) FROM effect ORDER BY n, customer";
    world.database.texts(effects).await
}

/// Asserts that no attempt was counted as failed.
fn assert_no_failure(recorder: &PrometheusRecorder) {
    let counted = recorder.handle().render();
    let failed = metric(&counted, "postroom_inbox_failed_attempts_total");
    assert_eq!(failed, Some(0.0), "{counted}");
}

/// Waits until so many ids are recorded and nothing is left in the queue.
async fn recorded(world: &World, ids: i64) {
    eventually("all are acknowledged", || async {
        world.database.count(RECORDED_IDS).await == ids
            && world.broker.queue("billing").await == Some((0, 1))
    })
    .await;
}

/// Records a key in an open transaction of somebody else.
async fn hold(world: &World, key: &'static str) -> Transaction<'static, Postgres> {
    let mut holding = outbox::transaction::begin(&world.database.admin)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO inbox.idempotency_key (consumer, type, key)
         VALUES ('billing', 'orders.placed', $1)",
    )
    .bind(key)
    .execute(&mut *holding)
    .await
    .unwrap();
    holding
}

#[tokio::test]
async fn g5_events_of_one_meaning_have_one_effect_whatever_their_ids() {
    let world = World::new().await;
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let builder = consumer(&world).on(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..20 {
        for customer in ["a", "b", "c"] {
            world.broker.publish(&Placed::new(customer, n)).await;
        }
    }
    recorded(&world, 60).await;
    let again = Uuid::now_v7();
    for _ in 0..2 {
        world.broker.publish_as(again, &Placed::new("d", 7)).await;
    }
    recorded(&world, 61).await;
    running.stop().await;
    world.broker.settled("billing").await;
    let distinct = "SELECT count(DISTINCT n) FROM effect";
    assert_eq!(world.database.count(distinct).await, 20);
    assert_eq!(effects(&world).await.len(), 20);
    // Each key names the message that had the effect.
    let first = "SELECT count(*) FROM inbox.idempotency_key AS k
                 JOIN inbox.processed AS p ON p.message_id = k.message_id::uuid
                 WHERE k.expires_at IS NULL";
    assert_eq!(world.database.count(first).await, 20);
    let counted = recorder.handle().render();
    for (name, expected) in [
        ("postroom_inbox_duplicate_keys_total", 41.0),
        ("postroom_inbox_duplicates_total", 1.0),
        ("postroom_inbox_handled_total", 20.0),
    ] {
        assert_eq!(metric(&counted, name), Some(expected), "{counted}");
    }
}

/// The write of a handler that commits by itself cannot be taken back, and so cannot its key.
#[tokio::test]
async fn g5_a_key_is_committed_and_rolled_back_with_the_handlers_work() {
    let world = World::new().await;
    let handler = |mut ctx: Context, event: Placed| async move {
        insert_effect(&mut ctx, &event).await?;
        match event.customer.as_str() {
            "fails" => Err(HandlerError::reject("never")),
            "panics" => panic!("a bug"),
            "commits" => {
                sqlx::query("COMMIT").execute(ctx.connection()).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    };
    let builder = consumer(&world).max_attempts(1).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for (n, customer) in [(1, "fails"), (2, "panics"), (3, "commits")] {
        world.broker.publish(&Placed::new(customer, n)).await;
    }
    eventually("three are dead", || async {
        world.database.parked().await.len() == 3
    })
    .await;
    assert_eq!(world.database.texts(KEYS).await, ["orders.placed order 3"]);
    for n in 1..=3 {
        world.broker.publish(&Placed::new("later", n)).await;
    }
    recorded(&world, 6).await;
    running.stop().await;
    let expected = ["later 1", "later 2", "commits 3"];
    assert_eq!(effects(&world).await, expected);
}
