//! Transactions that begin before their delivery has come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
};

use inbox::{Context, Delivery, HandlerError, Incoming, Outcome, TransactionLayer};
use postroom_testkit::eventually;
use tokio::runtime;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use url::Url;
use uuid::Uuid;

use crate::world::{Database, Placed, Running, World, insert_effect};

/// Counts the sessions, of any user, that are idle in a transaction.
const OPEN: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state LIKE 'idle in transaction%'";

#[tokio::test]
async fn steady_deliveries_find_a_transaction_begun() {
    let world = World::new().await;
    let ahead = Arc::new(AtomicI64::new(0));
    let counter = Arc::clone(&ahead);
    let handler = move |mut ctx: Context, event: Placed| {
        let counter = Arc::clone(&counter);
        async move {
            // The id of a message says when it was made (RFC 9562, section 5.7).
            let began_before: bool = sqlx::query_scalar(
                "SELECT extract(epoch FROM now()) * 1000
                        < ('x' || translate(left($1, 13), '-', ''))::bit(48)::bigint",
            )
            .bind(ctx.message().message_id.clone())
            .fetch_one(ctx.connection())
            .await?;
            counter.fetch_add(i64::from(began_before), Ordering::Relaxed);
            insert_effect(&mut ctx, &event).await?;
            Ok::<_, HandlerError>(())
        }
    };
    let consumer = world.consumer().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", consumer).await;
    let published = AtomicI64::new(0);
    eventually(
        "a transaction began before its message was made",
        || async {
            for _ in 0..50 {
                let n = published.fetch_add(1, Ordering::Relaxed);
                let event = Placed::new(&format!("c{}", n % 20), n);
                world.broker.publish(&event).await;
            }
            ahead.load(Ordering::Relaxed) > 0
        },
    )
    .await;
    let published = published.into_inner();
    eventually("each has had its effect", || async {
        let effects = "SELECT count(*) FROM effect";
        world.database.count(effects).await == published
    })
    .await;
    running.stop().await;
}

async fn nothing(_: Context) -> Result<(), HandlerError> {
    Ok(())
}

/// Handles fifty messages through the layer alone, without a consumer whose other work would clear up.
async fn handled(database: &Url) -> impl Sized + Send + use<> {
    let pool = Database::pool_at(database, 4);
    let mut service = TransactionLayer::new(pool, "billing").layer(service_fn(nothing));
    for _ in 0..50 {
        let mut message = Incoming::default();
        message.message_id = Some(Uuid::now_v7().to_string());
        message.topic = "orders.placed".into();
        let ready = service.ready().await.unwrap();
        let outcome = ready.call(Delivery::new(message, Vec::new())).await;
        assert_eq!(outcome.unwrap(), Outcome::Handled);
    }
    service
}

#[tokio::test]
async fn the_last_delivery_leaves_no_transaction_open() {
    let world = World::new().await;
    let service = handled(&world.database.url()).await;
    eventually("none is left open", || async {
        world.database.count(OPEN).await == 0
    })
    .await;
    drop(service);
}

/// A connection goes back to its pool by a task.
#[tokio::test]
async fn a_service_may_be_dropped_where_no_runtime_is() {
    let world = World::new().await;
    let database = world.database.url();
    let outside = thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap();
        let service = runtime.block_on(handled(&database));
        drop(service);
        drop(runtime);
    });
    let joined = tokio::task::spawn_blocking(|| outside.join()).await;
    joined.unwrap().unwrap();
}
