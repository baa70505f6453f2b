//! The context of a handler, alone or where messages share a transaction.

use inbox::{BatchContext, Context, HandlerError, Received};
use metrics_exporter_prometheus::PrometheusBuilder;
use outbox::MessageContext;
use tracing::Span;

use crate::{
    together::{effects, waiting},
    world::{Log, Placed, Running, Shipped, World, insert_effect, metric},
};
use postroom_testkit::eventually;

fn name(span: &Span) -> &'static str {
    span.metadata().map_or("none", |span| span.name())
}

#[tokio::test]
async fn a_handler_runs_in_the_span_of_its_delivery() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
    let world = World::new().await;
    waiting(&world, 40, 1).await;
    let log = Log::default();
    let seen = log.clone();
    let keep = move |mut ctx: Context, event: Placed| {
        // The span in which the handler begins; the span in which its future goes on is added below.
        seen.add(name(&Span::current()));
        let seen = seen.clone();
        async move {
            insert_effect(&mut ctx, &event).await?;
            seen.add(name(&Span::current()));
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world.consumer().workers(1).messages_per_transaction(20);
    let builder = builder.on::<Placed, _, _>(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    effects(&world, 40).await;
    running.stop().await;
    assert_eq!(log.count("delivery"), log.lines().len());
}

/// Every batch fails and each of its messages is handled alone, which must not go unnoticed.
#[tokio::test]
async fn why_a_shared_transaction_failed_is_told() {
    async fn at_most_one(
        mut ctx: BatchContext,
        events: Vec<Received<Placed>>,
    ) -> Result<(), HandlerError> {
        let [only] = &events[..] else {
            return Err(HandlerError::retry("too many at once"));
        };
        sqlx::query("INSERT INTO effect (n, customer) VALUES ($1, $2)")
            .bind(only.event.n)
            .bind(&only.event.customer)
            .execute(ctx.connection())
            .await?;
        Ok(())
    }
    let world = World::new().await;
    waiting(&world, 20, 1).await;
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let builder = world.consumer().workers(1);
    let builder = builder.on_many::<Placed, _, _>(at_most_one);
    let running = Running::start(&world.broker, "billing", builder).await;
    effects(&world, 20).await;
    running.stop().await;
    let counted = recorder.handle().render();
    let failed = metric(&counted, "postroom_inbox_shared_failed_total");
    assert!(failed > Some(0.0), "{counted}");
}

/// A handler that begins another process sets its own scope; fields that it leaves out are inherited.
#[tokio::test]
async fn the_handlers_own_scope_goes_before_what_it_inherits() {
    async fn begin(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
        let own = MessageContext::new().correlation_id("own");
        outbox::context::scope(own, ctx.publish(&Shipped { n: event.n })).await?;
        ctx.publish(&Shipped { n: event.n }).await?;
        Ok(())
    }
    let world = World::new().await;
    let builder = world.consumer().on::<Placed, _, _>(begin);
    let running = Running::start(&world.broker, "billing", builder).await;
    let id = world.broker.publish(&Placed::new("a", 1)).await;
    let published = "SELECT headers ->> 'correlation_id' || ' ' || (headers ->> 'causation_id')
                     FROM outbox.message ORDER BY position";
    let expected = [format!("own {id}"), format!("{id} {id}")];
    eventually("both are published", || async {
        world.database.texts(published).await == expected
    })
    .await;
    running.stop().await;
}
