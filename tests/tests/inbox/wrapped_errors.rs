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
use tower::{
    ServiceExt as _, layer::layer_fn, service_fn, timeout::TimeoutLayer, util::MapResultLayer,
};

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
    meets_conflicts(|error| anyhow::Error::from(error).into()).await;
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

/// Believed, its answers would acknowledge what nobody has handled.
#[tokio::test]
async fn g3_a_layer_that_makes_an_answer_of_an_error_is_not_believed() {
    async fn refuse(_: Context, event: Placed) -> Result<(), HandlerError> {
        Err(match event.n {
            1 => HandlerError::retry("no stock"),
            2 => HandlerError::reject("never"),
            _ => HandlerError::defer(Duration::from_mins(1), "later"),
        })
    }
    let world = World::new().await;
    let builder = world.consumer().attempts_in_place(1).max_attempts(1);
    let builder = builder.on::<Placed, _, _>(refuse);
    let builder = builder.layer(MapResultLayer::new(|answer: Result<Outcome, BoxError>| {
        Ok::<_, BoxError>(answer.unwrap_or(Outcome::Handled))
    }));
    let running = Running::start(&world.broker, "billing", builder).await;
    for (n, customer) in [(1, "a"), (2, "b"), (3, "c")] {
        world.broker.publish(&Placed::new(customer, n)).await;
    }
    eventually("all are parked", || async {
        world.database.parked().await.len() == 3
    })
    .await;
    running.stop().await;
    let mut parked = world.database.parked().await;
    parked.sort();
    let expected = [
        "deferred/waiting/0/f",
        "failed/dead/1/t",
        "rejected/dead/1/t",
    ];
    assert_eq!(parked, expected);
    let errors = "SELECT error FROM inbox.parked ORDER BY error";
    let errors = world.database.texts(errors).await;
    let failed = |why: &str| format!("the handler failed: {why}");
    assert_eq!(errors, ["later", "never", "no stock"].map(failed));
}

/// The statement that it has left behind holds the message's record, and would be waited for.
#[tokio::test]
async fn an_attempt_that_a_layer_gives_up_is_cancelled() {
    let world = World::new().await;
    let mut other = outbox::transaction::begin(&world.database.admin)
        .await
        .unwrap();
    sqlx::query("LOCK TABLE effect")
        .execute(&mut *other)
        .await
        .unwrap();
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
