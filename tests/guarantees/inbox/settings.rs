//! Handlers that change what their transactions may do, and tables that change under them.

use inbox::{Context, HandlerError};
use postroom_testkit::eventually;

use crate::world::{Placed, Running, World, insert_effect};

/// A consumer whose messages succeed at the second attempt, after which those of customer `a` run a statement.
async fn second_attempt(world: &World, last: &'static str) -> Running {
    let handler = move |mut ctx: Context, event: Placed| async move {
        if ctx.attempt() == 1 {
            return Err(HandlerError::retry("once"));
        }
        insert_effect(&mut ctx, &event).await?;
        if event.customer == "a" {
            sqlx::raw_sql(last).execute(ctx.connection()).await?;
        }
        Ok(())
    };
    let builder = world.consumer().attempts_in_place(1).max_attempts(2);
    let running = Running::start(
        &world.broker,
        "billing",
        builder.on::<Placed, _, _>(handler),
    )
    .await;
    world.broker.publish(&Placed::new("a", 1)).await;
    world.broker.publish(&Placed::new("b", 1)).await;
    eventually("the other is handled", || async {
        world.database.effects("b").await == [1]
    })
    .await;
    running
}

#[tokio::test]
async fn a_parked_message_may_be_handled_in_another_role() {
    let world = World::new().await;
    let running = second_attempt(&world, "SET LOCAL ROLE outbox_producer").await;
    eventually("nothing is parked", || async {
        world.database.parked().await.is_empty()
    })
    .await;
    running.stop().await;
    assert_eq!(world.database.effects("a").await, [1]);
}

/// The parked row cannot be deleted in a transaction that may not write.
#[tokio::test]
async fn a_handler_that_ends_all_writing_fails_and_holds_up_nobody_else() {
    let world = World::new().await;
    let running = second_attempt(&world, "SET TRANSACTION READ ONLY").await;
    eventually("it is dead", || async {
        world.database.parked().await == ["failed/dead/2/t"]
    })
    .await;
    running.stop().await;
    assert!(world.database.effects("a").await.is_empty());
}

/// Each session keeps the statement with the columns that the table had before.
#[tokio::test]
async fn a_table_may_change_under_a_consumer() {
    async fn effect(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
        sqlx::query("SELECT * FROM price")
            .fetch_one(ctx.connection())
            .await?;
        Ok(insert_effect(&mut ctx, &event).await?)
    }
    let world = World::new().await;
    let table = "CREATE TABLE price (cents bigint); INSERT INTO price VALUES (1);
                 GRANT SELECT ON price TO PUBLIC";
    world.database.execute(table).await;
    let builder = world.consumer().attempts_in_place(1).max_attempts(1);
    let running =
        Running::start(&world.broker, "billing", builder.on::<Placed, _, _>(effect)).await;
    let publish = async |numbers: std::ops::Range<i64>| {
        for n in numbers {
            world
                .broker
                .publish(&Placed::new(&format!("c{}", n % 20), n))
                .await;
        }
    };
    let handled = async |count| {
        eventually("all are handled", || async {
            world.database.count("SELECT count(*) FROM effect").await == count
        })
        .await;
    };
    publish(0..100).await;
    handled(100).await;
    let change = "ALTER TABLE price ADD COLUMN currency text";
    world.database.execute(change).await;
    publish(100..200).await;
    handled(200).await;
    running.stop().await;
    assert!(world.database.parked().await.is_empty());
}
