//! Errors in the errors of others, and layers that answer for the handler.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use inbox::{ConsumerBuilder, Context, HandlerError, HandlerService};
use postroom_testkit::eventually;
use sqlx::Executor as _;
use tower::{
    ServiceExt as _, layer::layer_fn, service_fn, timeout::TimeoutLayer, util::MapResultLayer,
};

use crate::world::{Placed, Running, World, insert_effect};

type BoxError = Box<dyn Error + Send + Sync>;

/// Shows of what it wraps the source alone.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct AppError(#[from] sqlx::Error);

#[derive(Debug, thiserror::Error)]
#[error("in the layer")]
struct LayerError(#[source] BoxError);

/// Handles a message once a conflict has come up more often than a message may fail.
async fn meets_conflicts(disguise: fn(sqlx::Error) -> HandlerError) {
    let world = World::new().await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let handler = move |mut ctx: Context, event: Placed| {
        let attempts = Arc::clone(&attempts);
        async move {
            if attempts.fetch_add(1, SeqCst) < 5 {
                let conflict = "DO $$ BEGIN RAISE 'conflict' USING ERRCODE = '40001'; END $$";
                let refused = sqlx::raw_sql(conflict).execute(ctx.connection()).await;
                return Err(disguise(refused.unwrap_err()));
            }
            Ok(insert_effect(&mut ctx, &event).await?)
        }
    };
    let builder = world.consumer().attempts_in_place(1).max_attempts(2);
    let running = Running::start(
        &world.broker,
        "billing",
        builder.on::<Placed, _, _>(handler),
    )
    .await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    assert!(world.database.parked().await.is_empty());
}

#[tokio::test]
async fn a_conflict_is_one_in_whatever_error_it_comes() {
    meets_conflicts(HandlerError::from).await;
    meets_conflicts(|error| AppError::from(error).into()).await;
    meets_conflicts(|error| anyhow::Error::from(error).into()).await;
}

fn through(builder: ConsumerBuilder, wrap: fn(BoxError) -> BoxError) -> ConsumerBuilder {
    builder.layer(layer_fn(move |inner: HandlerService| {
        service_fn(move |ctx: Context| {
            let answer = inner.clone().oneshot(ctx);
            async move { answer.await.map_err(wrap) }
        })
    }))
}

#[tokio::test]
async fn layers_may_wrap_the_error_of_a_handler() {
    async fn refuse(_: Context, event: Placed) -> Result<(), HandlerError> {
        Err(match event.n {
            1 => HandlerError::reject("never"),
            _ => HandlerError::defer(Duration::from_mins(1), "later"),
        })
    }
    let wraps: [fn(BoxError) -> BoxError; 2] = [|error| error, |error| LayerError(error).into()];
    for wrap in wraps {
        let world = World::new().await;
        let builder = world.consumer().on::<Placed, _, _>(refuse);
        let builder = through(builder, wrap);
        let running = Running::start(&world.broker, "billing", builder).await;
        world.broker.publish(&Placed::new("a", 1)).await;
        world.broker.publish(&Placed::new("b", 2)).await;
        eventually("both are parked", || async {
            world.database.parked().await.len() == 2
        })
        .await;
        running.stop().await;
        let mut parked = world.database.parked().await;
        parked.sort();
        assert_eq!(parked, ["deferred/waiting/0/f", "rejected/dead/1/t"]);
    }
}

/// The layer is part of the handler: its `Ok` commits, unless a statement has failed.
#[tokio::test]
async fn a_layer_that_passes_over_an_error_commits_what_the_handler_has_written() {
    async fn write_and_fail(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
        insert_effect(&mut ctx, &event).await?;
        if event.n == 2 {
            ctx.connection().execute("SELECT 1 / 0").await?;
        }
        Err(HandlerError::retry("no stock"))
    }
    let world = World::new().await;
    let builder = world.consumer().attempts_in_place(1).max_attempts(1);
    let builder = builder.on::<Placed, _, _>(write_and_fail);
    let pass_over = |_: Result<(), BoxError>| Ok::<_, BoxError>(());
    let builder = builder.layer(MapResultLayer::new(pass_over));
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    world.broker.publish(&Placed::new("b", 2)).await;
    eventually("one is handled and one is dead", || async {
        world.database.effects("a").await == [1]
            && world.database.parked().await == ["failed/dead/1/t"]
    })
    .await;
    running.stop().await;
    assert!(world.database.effects("b").await.is_empty());
}

/// Locks the table in which handlers write.
async fn lock(world: &World) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut other = outbox::transaction::begin(&world.database.admin)
        .await
        .unwrap();
    other.execute("LOCK TABLE effect").await.unwrap();
    other
}

/// The statement that it has left behind holds the message's record, and would be waited for.
#[tokio::test]
async fn a_handler_that_a_layer_gives_up_loses_its_session() {
    let world = World::new().await;
    let other = lock(&world).await;
    let builder = world.consumer().attempts_in_place(1).max_attempts(1);
    let builder = builder.handler_timeout(Duration::from_mins(10));
    let builder = builder.on::<Placed, _, _>(|mut ctx: Context, event: Placed| async move {
        insert_effect(&mut ctx, &event).await
    });
    let builder = builder.layer(TimeoutLayer::new(Duration::from_millis(500)));
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is dead, while the table is locked", || async {
        world.database.parked().await == ["failed/dead/1/t"]
    })
    .await;
    other.rollback().await.unwrap();
    running.stop().await;
    assert!(world.database.effects("a").await.is_empty());
}

/// The layer has given up the answer, but the transaction still runs, and may commit.
#[tokio::test]
async fn g5_an_attempt_that_an_admission_layer_gives_up_is_waited_for() {
    let world = World::new().await;
    let other = lock(&world).await;
    let builder = world.consumer().attempts_in_place(1).max_attempts(1);
    let builder = builder.handler_timeout(Duration::from_mins(10));
    let builder = builder.on::<Placed, _, _>(|mut ctx: Context, event: Placed| async move {
        insert_effect(&mut ctx, &event).await
    });
    let builder = builder.admission_layer(TimeoutLayer::new(Duration::from_millis(100)));
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'
                   AND query LIKE '%INTO inbox.processed%'";
    eventually("it is to be parked, and waits for its record", || async {
        world.database.count(waits).await == 1
    })
    .await;
    other.rollback().await.unwrap();
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
    assert!(world.database.parked().await.is_empty());
    assert_eq!(world.database.effects("a").await, [1]);
}
