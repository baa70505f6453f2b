//! Errors that choose what becomes of their message.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::Context as _;
use inbox::{
    Attempted, BatchContext, Context, DeliveryService, Fate, HandlerError, HandlerFailure,
    HandlerService, HasFate, Received, TransactionError, extract::State,
};
use postroom_testkit::eventually;
use sqlx::Executor as _;
use tower::{ServiceExt as _, layer::layer_fn, service_fn, util::MapErrLayer};

use crate::world::{Log, Placed, Running, World, insert_effect};

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
enum BillingError {
    #[error("no such customer")]
    NoCustomer,
    #[error("the customer has not arrived yet")]
    Early,
    #[error("cannot write the invoice")]
    Database(#[from] sqlx::Error),
}

impl HasFate for BillingError {
    fn fate(&self) -> Fate {
        match self {
            Self::NoCustomer | Self::Database(_) => Fate::Reject,
            Self::Early => Fate::Defer(Duration::from_mins(1)),
        }
    }
}

/// Fails by the number of the event.
fn bill(n: i64) -> Result<(), BillingError> {
    match n {
        1 => Err(BillingError::NoCustomer),
        2 => Err(BillingError::Early),
        _ => Ok(()),
    }
}

/// Publishes three messages of different keys, the last of which is handled; returns what the others became.
async fn becomes<S>(world: &World, builder: inbox::ConsumerBuilder<S>) -> Vec<String> {
    let recorded = "SELECT count(*) FROM inbox.processed";
    let before = world.database.count(recorded).await;
    let running = Running::start(&world.broker, "billing", builder.max_attempts(1)).await;
    for (customer, n) in [("a", 1), ("b", 2), ("c", 3)] {
        world.broker.publish(&Placed::new(customer, n)).await;
    }
    eventually("all are recorded, two of them parked", || async {
        world.database.count(recorded).await == before + 3
            && world.database.parked().await.len() == 2
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
    let mut parked = world.database.parked().await;
    parked.sort();
    parked
}

const REJECTED_AND_DEFERRED: [&str; 2] = ["deferred/waiting/0/f", "rejected/dead/1/t"];

#[tokio::test]
async fn an_error_chooses_the_fate_through_the_errors_around_it() {
    async fn plain(_: Context, event: Placed) -> Result<(), BillingError> {
        bill(event.n)
    }
    async fn any(_: Context, event: Placed) -> anyhow::Result<()> {
        Ok(bill(event.n)?)
    }
    async fn wrapped(_: Context, event: Placed) -> Result<(), HandlerError> {
        bill(event.n).context("billing").context("an order")?;
        Ok(())
    }
    async fn batch(_: BatchContext, events: Vec<Received<Placed>>) -> anyhow::Result<()> {
        Ok(events.iter().try_for_each(|placed| bill(placed.event.n))?)
    }
    let world = World::new().await;
    let builder = || world.consumer().classify_as::<BillingError>();
    for builder in [
        builder().on(plain),
        builder().on(any),
        builder().on(wrapped),
        builder().on_many(batch),
    ] {
        assert_eq!(becomes(&world, builder).await, REJECTED_AND_DEFERRED);
        world.database.execute("DELETE FROM inbox.parked").await;
    }
    let unclassified = becomes(&world, world.consumer().on(plain)).await;
    assert_eq!(unclassified, ["failed/dead/1/t", "failed/dead/1/t"]);
}

#[tokio::test]
async fn the_texts_of_an_error_are_stored_once() {
    async fn refuse(_: Context, _: Placed) -> anyhow::Result<()> {
        bill(1).context("handling an order")
    }
    let world = World::new().await;
    let builder = world.consumer().classify_as::<BillingError>().on(refuse);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is dead", || async {
        world.database.parked().await == ["rejected/dead/1/t"]
    })
    .await;
    running.stop().await;
    assert_eq!(
        world.database.texts("SELECT error FROM inbox.parked").await,
        ["the handler rejected the message: handling an order: no such customer"]
    );
}

#[tokio::test]
async fn what_a_handler_chooses_itself_counts_more() {
    async fn choose(_: Context, event: Placed) -> Result<(), HandlerError> {
        let minute = Duration::from_mins(1);
        bill(event.n).map_err(|error| match error {
            BillingError::NoCustomer => HandlerError::defer(minute, error),
            other => HandlerError::reject(other),
        })
    }
    let world = World::new().await;
    let builder = world.consumer().classify(|_| Some(Fate::Retry)).on(choose);
    assert_eq!(becomes(&world, builder).await, REJECTED_AND_DEFERRED);
}

/// Fails on the first attempts, because of the statement; returns the number of attempts.
async fn runs_again_after(statement: &'static str) -> usize {
    async fn fail_first(
        mut ctx: Context,
        State((attempts, statement)): State<(Arc<AtomicUsize>, &'static str)>,
        event: Placed,
    ) -> Result<(), BillingError> {
        if attempts.fetch_add(1, SeqCst) < 3 {
            ctx.connection().execute(statement).await?;
        }
        Ok(insert_effect(&mut ctx, &event).await?)
    }
    let world = World::new().await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let builder = world.consumer().classify_as::<BillingError>();
    let builder = builder.with_state((Arc::clone(&attempts), statement));
    let running = Running::start(&world.broker, "billing", builder.on(fail_first)).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
    assert!(world.database.parked().await.is_empty());
    attempts.load(SeqCst)
}

#[tokio::test]
async fn a_conflict_is_run_again_whatever_fate_its_error_has() {
    let conflict = "DO $$ BEGIN RAISE 'conflict' USING ERRCODE = '40001'; END $$";
    assert_eq!(runs_again_after(conflict).await, 4);
}

#[tokio::test]
async fn a_lost_connection_is_run_again_whatever_fate_its_error_has() {
    let lose = "SELECT pg_terminate_backend(pg_backend_pid())";
    assert_eq!(runs_again_after(lose).await, 4);
}

#[tokio::test]
async fn layers_see_the_fate_of_a_handlers_error() {
    async fn refuse(_: Context, event: Placed) -> Result<(), BillingError> {
        bill(event.n)
    }
    let log = Log::default();
    let seen = log.clone();
    let look = MapErrLayer::new(move |error: BoxError| {
        let failure: &HandlerFailure = error.downcast_ref().unwrap();
        let (rejection, deferral) = (failure.is_rejection(), failure.is_deferral());
        seen.add(format!("inside {rejection} {deferral}"));
        error
    });
    let seen = log.clone();
    let admission = layer_fn(move |inner: DeliveryService| {
        let seen = seen.clone();
        service_fn(move |delivery| {
            let (attempt, seen) = (inner.clone().oneshot(delivery), seen.clone());
            async move {
                let attempted: Attempted = attempt.await?;
                if let Some(TransactionError::Handler(failure)) = attempted.error() {
                    let (rejection, deferral) = (failure.is_rejection(), failure.is_deferral());
                    seen.add(format!("outside {rejection} {deferral}"));
                }
                Ok::<_, BoxError>(attempted)
            }
        })
    });
    let world = World::new().await;
    let builder = world.consumer().classify_as::<BillingError>().on(refuse);
    let builder = builder.layer(look).admission_layer(admission);
    assert_eq!(becomes(&world, builder).await, REJECTED_AND_DEFERRED);
    for side in ["inside", "outside"] {
        assert_eq!(log.count(&format!("{side} true false")), 1);
        assert_eq!(log.count(&format!("{side} false true")), 1);
    }
}

#[tokio::test]
async fn an_error_of_a_layer_has_a_fate() {
    async fn accept(_: Context, _: Placed) -> Result<(), HandlerError> {
        Ok(())
    }
    let refuse_first = layer_fn(|inner: HandlerService| {
        service_fn(move |ctx: Context| {
            let inner = inner.clone();
            async move {
                let event: Placed = serde_json::from_slice(ctx.body())?;
                bill(event.n)?;
                inner.oneshot(ctx).await
            }
        })
    });
    let world = World::new().await;
    let builder = world.consumer().classify_as::<BillingError>().on(accept);
    let builder = builder.layer(refuse_first);
    assert_eq!(becomes(&world, builder).await, REJECTED_AND_DEFERRED);
}
