//! Ids beyond the dedup window are deleted, parked rows without a row to release them are found, and each
//! attempt passes the layers of the service.

use std::task::{self, Poll};

use inbox::{Context, Delivery, HandlerError, HandlerService, Incoming, Outcome, TransactionLayer};
use tower::{Layer, Service, ServiceExt, layer::layer_fn, service_fn};
use uuid::Uuid;

use postroom_testkit::eventually;

use crate::world::{Log, Placed, Running, World, insert_effect, uuid_v4};

async fn effect(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

/// Records an id of a consumer in the leaf of the day so many days ago.
async fn record(world: &World, consumer: &str, days_ago: i64) {
    let day = chrono::Utc::now().timestamp() / 86_400 - days_ago;
    sqlx::query("INSERT INTO inbox.processed VALUES ($1, $2, $3)")
        .bind(consumer)
        .bind(uuid_v4())
        .bind(day.rem_euclid(64) as i16)
        .execute(&world.database.admin)
        .await
        .unwrap();
}

#[tokio::test]
async fn ids_beyond_the_window_are_forgotten_but_not_those_of_others() {
    let world = World::new().await;
    for days_ago in [0, 29, 31, 33, 40] {
        record(&world, "billing", days_ago).await;
    }
    record(&world, "with a longer window", 40).await;
    record(&world, "billing", 60).await;
    record(&world, "with a longer window", 60).await;
    world
        .database
        .execute(
            "INSERT INTO inbox.processed_other VALUES
             ('billing', sha256('1'), now() - interval '31 days'),
             ('billing', sha256('2'), now() - interval '29 days'),
             ('with a longer window', sha256('3'), now() - interval '31 days')",
        )
        .await;
    let builder = world.consumer().on::<Placed, _, _>(effect);
    let running = Running::start(&world.broker, "billing", builder).await;
    let left = "SELECT consumer || ' ' || slot_age FROM (
                    SELECT consumer, mod((extract(epoch FROM now())::bigint / 86400 - slot) % 64 + 64, 64) AS slot_age
                    FROM inbox.processed) AS p ORDER BY 1";
    eventually(
        "only the window is left, and what shares a leaf with others",
        || async {
            world.database.texts(left).await
                == [
                    "billing 0",
                    "billing 29",
                    "billing 31",
                    "billing 40",
                    "with a longer window 40",
                ]
        },
    )
    .await;
    let hashed = "SELECT count(*) FROM inbox.processed_other";
    eventually("old hashes are gone", || async {
        world.database.count(hashed).await == 2
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_row_whose_predecessor_was_deleted_by_hand_is_found() {
    let world = World::new().await;
    world
        .database
        .execute(
            "INSERT INTO inbox.parked (consumer, state, reason, holds_key, topic, key, type,
                                       message_id, headers, payload)
             VALUES ('billing', 'waiting', 'behind', true, 'orders.placed', 'a', 'orders.placed',
                     'm-1', '{}', '{\"n\": 1, \"customer\": \"a\"}')",
        )
        .await;
    let builder = world.consumer().on::<Placed, _, _>(effect);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}

/// Counts calls, and refuses to be called unless it was made ready itself: a clone was not.
struct Witness<S> {
    inner: S,
    log: Log,
    ready: bool,
}

impl<S> Witness<S> {
    fn new(inner: S, log: &Log) -> Self {
        Self {
            inner,
            log: log.clone(),
            ready: false,
        }
    }
}

impl<S: Clone> Clone for Witness<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), &self.log)
    }
}

impl<S: Service<R>, R> Service<R> for Witness<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.ready = true;
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        assert!(self.ready, "called without having been made ready");
        self.ready = false;
        self.log.add("called");
        self.inner.call(request)
    }
}

#[tokio::test]
async fn each_attempt_passes_the_users_layers() {
    let world = World::new().await;
    let log = Log::default();
    let witness = {
        let log = log.clone();
        layer_fn(move |inner: HandlerService| Witness::new(inner, &log))
    };
    let handler = |mut ctx: Context, event: Placed| async move {
        if ctx.attempt() < 4 {
            return Err(HandlerError::retry("not yet"));
        }
        insert_effect(&mut ctx, &event).await?;
        Ok(())
    };
    let builder = world.consumer().on::<Placed, _, _>(handler).layer(witness);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    // Three in place, one parked.
    assert_eq!(log.count("called"), 4);
}

#[tokio::test]
async fn the_transaction_calls_the_service_that_was_made_ready() {
    let world = World::new().await;
    let log = Log::default();
    let handler = service_fn(|_: Context| async { Ok::<_, HandlerError>(()) });
    let layer = TransactionLayer::new(world.database.pool(2), "billing");
    let mut service = layer.layer(Witness::new(handler, &log));
    for _ in 0..2 {
        let mut message = Incoming::default();
        message.message_id = Some(Uuid::now_v7().to_string());
        let delivery = Delivery::new(message, Vec::new());
        let outcome = service.ready().await.unwrap().call(delivery).await;
        assert_eq!(outcome.unwrap(), Outcome::Handled);
    }
    assert_eq!(log.count("called"), 2);
}
