//! Idempotency keys behind the service's layers.

use inbox::{Context, HandlerService};
use metrics_exporter_prometheus::PrometheusBuilder;
use postroom_testkit::eventually;
use sqlx::Executor as _;
use tower::{
    ServiceExt as _,
    layer::layer_fn,
    service_fn,
    util::{BoxCloneSyncService, MapRequestLayer},
};
use uuid::Uuid;

use super::{KEYS, WAITING, assert_no_failure, consumer, effects, hold, keep, recorded};
use crate::world::{Log, Placed, Running, World, properties};

/// A layer unpacks the body once, and the key is made from what it passes on.
#[tokio::test]
async fn g5_keys_are_made_of_the_bodies_that_layers_pass_on() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let unpack = MapRequestLayer::new(move |ctx: Context| {
        seen.add("passed");
        let body: Vec<u8> = ctx.body().iter().rev().copied().collect();
        ctx.with_body(body)
    });
    let builder = consumer(&world).on(keep).layer(unpack);
    let running = Running::start(&world.broker, "billing", builder).await;
    for customer in ["a", "b", "a"] {
        let body = serde_json::to_vec(&Placed::new(customer, 1)).unwrap();
        let packed: Vec<u8> = body.into_iter().rev().collect();
        let properties = properties(Uuid::now_v7(), None, "orders.placed");
        world.broker.publish_raw(properties, &packed).await;
    }
    recorded(&world, 3).await;
    running.stop().await;
    assert_eq!(effects(&world).await.len(), 1);
    assert_eq!(log.count("passed"), 3);
}

/// Returns a layer that hides each error, as a service's own mistake.
fn hiding(inner: HandlerService) -> HandlerService {
    let hide = move |ctx: Context| {
        let inner = inner.clone();
        async move {
            drop(inner.oneshot(ctx).await);
            Ok(())
        }
    };
    BoxCloneSyncService::new(service_fn(hide))
}

/// The database's failure is no error of the handler, so no layer sees it.
#[tokio::test]
async fn a_layer_that_hides_errors_hides_no_failure_to_record_a_key() {
    let world = World::new().await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let builder = consumer(&world).on(keep).layer(layer_fn(hiding));
    let running = Running::start(&world.broker, "billing", builder).await;
    let holding = hold(&world, "order 1").await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it waits", || async {
        world.database.count(WAITING).await == 1
    })
    .await;
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
                  WHERE datname = current_database() AND query LIKE '%INTO inbox.idempotency_key%'
                    AND wait_event_type = 'Lock'";
    assert_eq!(world.database.count(cancel).await, 1);
    eventually("it waits again", || async {
        world.database.count(WAITING).await == 1
    })
    .await;
    holding.rollback().await.unwrap();
    recorded(&world, 1).await;
    running.stop().await;
    assert_eq!(effects(&world).await, ["a 1"]);
    assert_no_failure(&recorder);
}

/// Returns a layer that runs a statement in the transaction and passes over its failure.
fn running_statement(
    statement: &'static str,
) -> impl Fn(HandlerService) -> HandlerService + Clone + Send + 'static {
    move |inner: HandlerService| {
        let run = move |mut ctx: Context| {
            let inner = inner.clone();
            async move {
                drop(ctx.connection().execute(statement).await);
                inner.oneshot(ctx).await
            }
        };
        BoxCloneSyncService::new(service_fn(run))
    }
}

#[tokio::test]
async fn a_layer_that_ends_or_aborts_the_transaction_fails_and_leaves_no_key() {
    let (aborted, ended) = (
        "passed over a failed statement",
        "ended the transaction itself",
    );
    for (statement, error) in [
        ("SELECT 1 / 0", aborted),
        ("ROLLBACK", ended),
        ("ROLLBACK; BEGIN", ended),
        ("ROLLBACK; BEGIN; SELECT pg_current_xact_id()", ended),
    ] {
        let world = World::new().await;
        let layer = layer_fn(running_statement(statement));
        let builder = consumer(&world).max_attempts(1).on(keep).layer(layer);
        let running = Running::start(&world.broker, "billing", builder).await;
        world.broker.publish(&Placed::new("a", 1)).await;
        eventually("it is dead", || async {
            world.database.parked().await == ["failed/dead/1/t"]
        })
        .await;
        running.stop().await;
        let errors = world.database.texts("SELECT error FROM inbox.parked").await;
        assert!(errors[0].contains(error), "{statement}: {errors:?}");
        assert_eq!(world.database.texts(KEYS).await, [""; 0], "{statement}");
        assert_eq!(effects(&world).await, [""; 0], "{statement}");
    }
}
