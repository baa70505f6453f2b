//! Servers that come late, and servers that go away.

use inbox::{Context, HandlerError, RunError};
use metrics_exporter_prometheus::PrometheusBuilder;

use postroom_testkit::eventually;

use crate::world::{Placed, Proxy, Running, World, insert_effect, metric};

async fn effect(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

#[tokio::test]
async fn a_consumer_waits_for_both_servers() {
    let world = World::new().await;
    let database = Proxy::new(world.database.address(), false).await;
    let broker = Proxy::new(world.broker.address(), false).await;
    let builder = world
        .consumer()
        .database(world.database.pool_through(database.port, 12))
        .amqp_url(world.broker.url_through(broker.port))
        .on::<Placed, _, _>(effect);
    let running = Running::spawn(builder);
    eventually("it has tried", || async { database.refused() > 1 }).await;
    database.mend();
    eventually("it has tried", || async { broker.refused() > 1 }).await;
    broker.mend();
    eventually("it consumes", || async {
        world
            .broker
            .queue("billing")
            .await
            .is_some_and(|(_, consumers)| consumers == 1)
    })
    .await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_database_loses_and_parks_nothing() {
    let world = World::new().await;
    let database = Proxy::new(world.database.address(), true).await;
    let builder = world
        .consumer()
        .database(world.database.pool_through(database.port, 12))
        .max_attempts(1)
        .on::<Placed, _, _>(effect);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 1..=10 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("some are handled", || async {
        !world.database.effects("a").await.is_empty()
    })
    .await;
    database.cut();
    for n in 11..=30 {
        world.broker.publish(&Placed::new("a", n)).await;
        world.broker.publish(&Placed::new("b", n)).await;
    }
    eventually("it has tried", || async { database.refused() > 5 }).await;
    database.mend();
    eventually("all are handled", || async {
        world.database.effects("a").await.len() == 30
            && world.database.effects("b").await.len() == 20
    })
    .await;
    running.stop().await;
    let expected: Vec<i64> = (1..=30).collect();
    assert_eq!(world.database.effects("a").await, expected);
    assert!(world.database.parked().await.is_empty());
    world.broker.settled("billing").await;
}

/// Each lost connection counts as a redelivery, as each process does that a handler ends.
#[tokio::test]
async fn connections_lost_in_an_outage_are_nobodys_crashes() {
    let world = World::new().await;
    let database = Proxy::new(world.database.address(), true).await;
    let broker = Proxy::new(world.broker.address(), true).await;
    let builder = world
        .consumer()
        .database(world.database.pool_through(database.port, 12))
        .amqp_url(world.broker.url_through(broker.port))
        .max_crashes(1)
        .on::<Placed, _, _>(effect);
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let running = Running::start(&world.broker, "billing", builder).await;
    database.cut();
    for n in 1..=10 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    let is_sent = async || world.broker.queue("billing").await == Some((0, 1));
    for _ in 0..2 {
        eventually("all are sent", is_sent).await;
        let refused = broker.refused();
        broker.cut();
        eventually("it has tried", || async { broker.refused() > refused }).await;
        broker.mend();
    }
    eventually("all are sent", is_sent).await;
    database.mend();
    eventually("all are handled", || async {
        world.database.effects("a").await.len() == 10
    })
    .await;
    running.stop().await;
    let counted = recorder.handle().render();
    let handled = metric(&counted, "postroom_inbox_handled_total");
    assert_eq!(handled, Some(10.0), "{counted}");
    let parked = metric(&counted, "postroom_inbox_parked_total");
    assert_eq!(parked, Some(0.0), "{counted}");
}

#[tokio::test]
async fn a_consumer_stops_while_both_servers_are_away() {
    let world = World::new().await;
    let database = Proxy::new(world.database.address(), true).await;
    let broker = Proxy::new(world.broker.address(), true).await;
    let builder = world
        .consumer()
        .database(world.database.pool_through(database.port, 12))
        .amqp_url(world.broker.url_through(broker.port))
        .on::<Placed, _, _>(effect);
    let running = Running::start(&world.broker, "billing", builder).await;
    database.cut();
    broker.cut();
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it has tried", || async {
        database.refused() > 1 && broker.refused() > 1
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_database_without_the_schema_is_refused() {
    let world = World::new().await;
    world
        .database
        .execute("DROP SCHEMA inbox, outbox CASCADE")
        .await;
    let running = Running::spawn(world.consumer().on::<Placed, _, _>(effect));
    let error = running.result().await.unwrap_err();
    assert!(matches!(error, RunError::Schema { .. }), "{error:?}");
}
