//! Errors that others hide: what they mean stays the same.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use inbox::{ConsumerBuilder, Context, Delivery, DeliveryService, HandlerError, Outcome};
use support::eventually;
use tower::{ServiceExt as _, layer::layer_fn, service_fn};

use crate::world::{Log, Placed, Running, World, insert_effect};

type BoxError = Box<dyn Error + Send + Sync>;

/// Shows of what it wraps the source alone.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum AppError {
    Database(#[from] sqlx::Error),
    Layer(BoxError),
}

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
    meets_conflicts(|error| HandlerError::retry(anyhow::Error::from(error))).await;
}

fn through(builder: ConsumerBuilder, disguise: fn(BoxError) -> BoxError) -> ConsumerBuilder {
    builder.layer(layer_fn(move |inner: DeliveryService| {
        service_fn(move |delivery: Delivery| {
            let answer = inner.clone().oneshot(delivery);
            async move { answer.await.map_err(disguise) }
        })
    }))
}

const DISGUISES: [fn(BoxError) -> BoxError; 3] = [
    |error| error,
    |error| AppError::Layer(error).into(),
    |error| anyhow::anyhow!(error).into(),
];

#[tokio::test]
async fn layers_may_hide_what_a_handler_said() {
    async fn refuse(_: Context, event: Placed) -> Result<(), HandlerError> {
        Err(match event.n {
            1 => HandlerError::reject("never"),
            _ => HandlerError::defer(Duration::from_mins(1), "later"),
        })
    }
    for disguise in DISGUISES {
        let world = World::new().await;
        let builder = world.consumer().on::<Placed, _, _>(refuse);
        let builder = through(builder, disguise);
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

#[tokio::test]
async fn layers_may_hide_an_outage() {
    for disguise in DISGUISES {
        let world = World::new().await;
        let log = Log::default();
        let seen = log.clone();
        let builder = world.consumer().attempts_in_place(1).max_attempts(1);
        let builder = builder.on::<Placed, _, _>(|mut ctx: Context, event: Placed| async move {
            insert_effect(&mut ctx, &event).await
        });
        let builder = through(builder, disguise);
        let builder = builder.layer(layer_fn(move |inner: DeliveryService| {
            let log = seen.clone();
            service_fn(move |delivery: Delivery| {
                log.add("attempt");
                inner.clone().oneshot(delivery)
            })
        }));
        let running = Running::start(&world.broker, "billing", builder).await;
        let revoke = "REVOKE INSERT ON inbox.processed FROM inbox_consumer";
        world.database.execute(revoke).await;
        world.broker.publish(&Placed::new("a", 1)).await;
        eventually("it has tried", || async { log.count("attempt") > 3 }).await;
        let grant = "GRANT INSERT ON inbox.processed TO inbox_consumer";
        world.database.execute(grant).await;
        eventually("it is handled", || async {
            world.database.effects("a").await == [1]
        })
        .await;
        running.stop().await;
        assert!(world.database.parked().await.is_empty());
    }
}

/// From the queue it would be acknowledged; a row would stay, and be tried again for no reason that anybody
/// could find.
#[tokio::test]
async fn a_layer_that_answers_for_a_parked_message_is_told_so() {
    let world = World::new().await;
    let failing = |_: Context, _: Placed| async { Err::<(), _>(HandlerError::retry("not yet")) };
    let builder = world.consumer().attempts_in_place(1).max_attempts(2);
    let builder = builder.on::<Placed, _, _>(failing);
    let builder = builder.layer(layer_fn(|inner: DeliveryService| {
        service_fn(move |delivery: Delivery| {
            let inner = inner.clone();
            async move {
                if delivery.attempt() > 1 {
                    return Ok(Outcome::Handled);
                }
                inner.oneshot(delivery).await
            }
        })
    }));
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is dead", || async {
        world.database.parked().await == ["failed/dead/2/t"]
    })
    .await;
    running.stop().await;
    let error = world.database.texts("SELECT error FROM inbox.parked").await;
    assert!(
        error[0].contains("a layer around the handler answered itself"),
        "{error:?}"
    );
}
