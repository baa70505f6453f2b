//! The proof that an event has its effect once, and its failures.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use inbox::{Consumer, Context, Delivery, DeliveryService, HandlerError};
use postroom_testkit::assert_idempotent;
use sqlx::PgPool;
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt as _, layer::layer_fn, service_fn};

use crate::world::{Placed, World, invoice, placed};

/// Runs an assertion that must fail, and returns its message.
async fn failure(world: &World, consumer: Consumer) -> String {
    let pool = world.admin.clone();
    let asserting = async move { assert_idempotent(&pool, &consumer, &placed(7)).await };
    let panicked = tokio::spawn(asserting).await.unwrap_err().into_panic();
    panicked.downcast_ref::<String>().unwrap().clone()
}

async fn insert(pool: &PgPool, n: i64) {
    sqlx::query("INSERT INTO invoice (n) VALUES ($1)")
        .bind(n)
        .execute(pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn g5_a_handler_within_its_transaction_passes() {
    let world = World::new().await;
    let consumer = world.consumer().on::<Placed, _, _>(invoice);
    assert_idempotent(&world.admin, &consumer.build().unwrap(), &placed(7)).await;
    assert_eq!(world.invoices().await, [7]);
}

#[tokio::test]
async fn a_handler_that_writes_on_the_pool_fails_with_the_row() {
    let world = World::new().await;
    let pool = world.pool.clone();
    let handler = move |_: Context, order: Placed| {
        let pool = pool.clone();
        async move {
            insert(&pool, order.n).await;
            Ok::<_, HandlerError>(())
        }
    };
    let consumer = world.consumer().on::<Placed, _, _>(handler);
    assert_eq!(
        failure(&world, consumer.build().unwrap()).await,
        "a crash before the commit leaves changes (- before, + after); write on the connection of the handler's \
         context:\n  public.invoice\n    + {\"n\": 7, \"seq\": 1}"
    );
}

#[tokio::test]
async fn a_layer_that_writes_for_a_duplicate_fails_with_the_row() {
    let world = World::new().await;
    let (pool, deliveries) = (world.pool.clone(), Arc::new(AtomicUsize::new(0)));
    let writing = move |service: DeliveryService| {
        let (pool, deliveries) = (pool.clone(), Arc::clone(&deliveries));
        BoxCloneSyncService::new(service_fn(move |delivery: Delivery| {
            let (service, pool) = (service.clone(), pool.clone());
            let number = deliveries.fetch_add(1, Ordering::Relaxed);
            async move {
                if number == 2 {
                    insert(&pool, 99).await;
                }
                service.oneshot(delivery).await
            }
        }))
    };
    let consumer = world.consumer().on::<Placed, _, _>(invoice);
    let consumer = consumer
        .admission_layer(layer_fn(writing))
        .messages_per_transaction(1);
    let failure = failure(&world, consumer.build().unwrap()).await;
    assert!(failure.starts_with("the second delivery of the message leaves changes"));
    assert!(failure.contains("\n    + {\"n\": 99"), "{failure}");
}

#[tokio::test]
async fn a_handler_that_fails_is_reported_with_its_error() {
    let world = World::new().await;
    let handler = async |_: Context, _: Placed| Err::<(), _>(HandlerError::reject("no paper"));
    let consumer = world.consumer().on::<Placed, _, _>(handler);
    let failure = failure(&world, consumer.build().unwrap()).await;
    assert!(failure.starts_with("cannot handle the event before the crash: "));
    assert!(failure.ends_with("no paper"), "{failure}");
}
