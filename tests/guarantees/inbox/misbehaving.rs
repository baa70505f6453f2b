//! Handlers and layers that do what one would not expect of them.

use std::time::Duration;

use inbox::{Context, Delivery, HandlerError};
use sqlx::Executor as _;
use tower::util::MapRequestLayer;

use postroom_testkit::eventually;

use crate::{
    ended::waiting,
    world::{Log, Placed, Running, World, insert_effect},
};

/// The error of a statement that it has given up is its own, and not that of a lost connection.
#[tokio::test]
async fn a_handler_may_give_up_a_statement() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, _: Placed| {
        seen.add("run");
        async move {
            let connection = ctx.connection();
            connection
                .execute("SET LOCAL statement_timeout = '200ms'")
                .await?;
            let sleeping = connection.execute("SELECT pg_sleep(10)");
            tokio::time::timeout(Duration::from_millis(50), sleeping).await??;
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world.consumer().max_attempts(3).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is dead", || async {
        world.database.parked().await == ["failed/dead/3/t"]
    })
    .await;
    running.stop().await;
    assert_eq!(log.count("run"), 3);
    let errors = world.database.texts("SELECT error FROM inbox.parked").await;
    assert!(errors[0].contains("deadline has elapsed"), "{errors:?}");
}

/// "Never" is a wait as any other.
#[tokio::test]
async fn a_message_may_be_put_off_for_ever() {
    let world = World::new().await;
    let handler =
        |_: Context, _: Placed| async { Err::<(), _>(HandlerError::defer(Duration::MAX, "never")) };
    let builder = world
        .consumer()
        .handler_timeout(Duration::MAX)
        .max_deferral(Duration::MAX)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is parked", || async {
        world.database.parked().await == ["deferred/waiting/0/f"]
    })
    .await;
    running.stop().await;
    let due = "SELECT count(*) FROM inbox.parked WHERE due_at > now() + interval '90 years'";
    assert_eq!(world.database.count(due).await, 1);
}

/// A lease for ever is a lease that the table can hold.
#[tokio::test]
async fn a_handler_with_all_the_time_is_tried_again_too() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            seen.add("run");
            if seen.count("run") < 5 {
                return Err(HandlerError::retry("not yet"));
            }
            insert_effect(&mut ctx, &event).await?;
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world
        .consumer()
        .handler_timeout(Duration::MAX)
        .max_attempts(u32::MAX)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is handled in the end", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}

/// The time that it waited for others is not counted.
#[tokio::test]
async fn a_message_that_waited_for_its_key_may_be_put_off_as_long_as_any() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            let broken: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM broken)")
                .fetch_one(ctx.connection())
                .await?;
            if event.n == 0 && broken {
                return Err(HandlerError::retry("its service is down"));
            }
            if event.n == 1 && seen.count("1") == 0 {
                seen.add("1");
                return Err(HandlerError::not_yet("its customer has not arrived"));
            }
            insert_effect(&mut ctx, &event).await?;
            Ok(())
        }
    };
    world
        .database
        .execute(
            "CREATE TABLE broken (name text); INSERT INTO broken VALUES ('it');
             GRANT SELECT ON broken TO PUBLIC",
        )
        .await;
    let builder = world
        .consumer()
        .max_attempts(10_000)
        .max_deferral(Duration::from_secs(30))
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..2 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("both are parked", || async {
        world.database.parked().await.len() == 2
    })
    .await;
    // As if they had waited for a day.
    world
        .database
        .execute(
            "UPDATE inbox.parked SET parked_at = parked_at - interval '1 day'; DELETE FROM broken",
        )
        .await;
    eventually("both are handled", || async {
        world.database.effects("a").await == [0, 1]
    })
    .await;
    running.stop().await;
    assert_eq!(log.count("1"), 1);
}

/// A layer may unpack bodies, of deliveries that share a transaction and of parked ones too.
#[tokio::test]
async fn a_layer_may_replace_the_body() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            seen.add(event.n.to_string());
            if event.n == 103 && seen.count("103") < 5 {
                return Err(HandlerError::retry("not yet"));
            }
            insert_effect(&mut ctx, &event).await?;
            Ok(())
        }
    };
    let unpack = |ctx: Context| {
        let mut event: Placed = serde_json::from_slice(ctx.body()).unwrap();
        event.n += 100;
        ctx.with_body(serde_json::to_vec(&event).unwrap())
    };
    waiting(&world, 10).await;
    let builder = world
        .consumer()
        .workers(1)
        .messages_per_transaction(10)
        .on::<Placed, _, _>(handler)
        .layer(MapRequestLayer::new(unpack));
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("all are handled", || async {
        world.database.effects("a").await.len() == 10
    })
    .await;
    running.stop().await;
    let in_order: Vec<i64> = (100..110).collect();
    assert_eq!(world.database.effects("a").await, in_order);
}

#[tokio::test]
async fn an_admission_layer_that_passes_on_another_delivery_for_a_parked_one_is_told() {
    let world = World::new().await;
    let handler = |_: Context, _: Placed| async { Err::<(), _>(HandlerError::retry("no")) };
    let rebuild =
        |delivery: Delivery| Delivery::new(delivery.message().clone(), delivery.body().to_vec());
    let builder = world
        .consumer()
        .max_attempts(4)
        .on::<Placed, _, _>(handler)
        .admission_layer(MapRequestLayer::new(rebuild));
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is dead", || async {
        world.database.parked().await == ["failed/dead/4/t"]
    })
    .await;
    running.stop().await;
    let errors = world.database.texts("SELECT error FROM inbox.parked").await;
    assert!(errors[0].contains("Delivery::with_body"), "{errors:?}");
}
