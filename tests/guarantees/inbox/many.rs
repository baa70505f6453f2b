//! Handlers of many messages at once.

use inbox::{BatchContext, HandlerError, Received};
use postroom_testkit::eventually;

use crate::{
    together::{drain, effects, judge, transactions, waiting},
    world::{Placed, Running, Shipped, World},
};

#[tokio::test]
async fn g5_a_handler_of_many_has_each_effect_once_and_in_order() {
    async fn keep_many(
        mut ctx: BatchContext,
        events: Vec<Received<Placed>>,
    ) -> Result<(), HandlerError> {
        let ns: Vec<i64> = events.iter().map(|placed| placed.event.n).collect();
        let customers: Vec<&str> = events
            .iter()
            .map(|placed| placed.event.customer.as_str())
            .collect();
        sqlx::query(
            "INSERT INTO effect (n, customer) SELECT * FROM unnest($1::bigint[], $2::text[])",
        )
        .bind(ns)
        .bind(customers)
        .execute(ctx.connection())
        .await?;
        let shipped = events.iter().map(|placed| {
            let shipped = outbox::Message::event(&Shipped { n: placed.event.n });
            shipped.map(|message| message.context(&placed.context()))
        });
        let shipped = shipped
            .collect::<Result<Vec<_>, _>>()
            .map_err(HandlerError::retry)?;
        ctx.publish_all(shipped).await?;
        Ok(())
    }
    let world = World::new().await;
    waiting(&world, 200, 2).await;
    let builder = || {
        world
            .consumer()
            .workers(2)
            .on_many::<Placed, _, _>(keep_many)
    };
    let running = Running::start(&world.broker, "billing", builder()).await;
    effects(&world, 200).await;
    drain(&world, running, builder).await;
    judge(&world, 200).await;
    let transactions = transactions(&world).await;
    assert!(
        transactions < 60,
        "{transactions} transactions for 200 messages"
    );
    let caused = "SELECT count(DISTINCT headers ->> 'causation_id') FROM outbox.message
                  WHERE topic = 'orders.shipped'";
    let named = world
        .database
        .texts("SELECT DISTINCT k FROM outbox.message, jsonb_object_keys(headers) AS k")
        .await;
    assert_eq!(world.database.count(caused).await, 200, "{named:?}");
}

/// The load decides how many messages a call has: messages that a handler publishes without
/// naming their cause must not depend on the load.
#[tokio::test]
async fn messages_of_a_handler_of_many_inherit_nothing_however_many_there_are() {
    async fn ship(
        mut ctx: BatchContext,
        events: Vec<Received<Placed>>,
    ) -> Result<(), HandlerError> {
        let shipped = events.iter();
        let shipped = shipped.map(|placed| outbox::Message::event(&Shipped { n: placed.event.n }));
        let shipped = shipped.collect::<Result<Vec<_>, _>>();
        ctx.publish_all(shipped.map_err(HandlerError::retry)?)
            .await?;
        Ok(())
    }
    let world = World::new().await;
    let builder = || world.consumer().workers(1).on_many::<Placed, _, _>(ship);
    let shipped = "SELECT count(*) FROM outbox.message WHERE topic = 'orders.shipped'";
    let running = Running::start(&world.broker, "billing", builder()).await;
    world.broker.publish(&Placed::new("a", 0)).await;
    eventually("one is handled by itself", || async {
        world.database.count(shipped).await == 1
    })
    .await;
    running.stop().await;
    for n in 1..=20 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    let running = Running::start(&world.broker, "billing", builder()).await;
    eventually("the others are handled", || async {
        world.database.count(shipped).await == 21
    })
    .await;
    running.stop().await;
    let names = "SELECT DISTINCT k FROM outbox.message, jsonb_object_keys(headers) AS k";
    assert_eq!(world.database.texts(names).await, ["event_version"]);
}
