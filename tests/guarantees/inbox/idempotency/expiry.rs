//! The time for which keys are remembered.

use std::time::Duration;

use inbox::{BatchContext, HandlerError, Received, Remember};
use postroom_testkit::eventually;

use super::{KEYS, consumer, effects, keep, order, recorded};
use crate::world::{Placed, Running, World};

#[tokio::test]
async fn a_key_counts_until_its_time_is_over() {
    let world = World::new().await;
    let hour = Remember::For(Duration::from_hours(1));
    let builder = world.consumer().on(keep).idempotency_key(hour, order);
    let running = Running::start(&world.broker, "billing", builder).await;
    for customer in ["a", "b"] {
        world.broker.publish(&Placed::new(customer, 1)).await;
        recorded(&world, 1 + i64::from(customer == "b")).await;
    }
    let in_an_hour = "SELECT count(*) FROM inbox.idempotency_key
                      WHERE expires_at - recorded_at BETWEEN interval '59 min' AND interval '61 min'";
    assert_eq!(world.database.count(in_an_hour).await, 1);
    world
        .database
        .execute("UPDATE inbox.idempotency_key SET expires_at = clock_timestamp()")
        .await;
    world.broker.publish(&Placed::new("c", 1)).await;
    recorded(&world, 3).await;
    world.broker.publish(&Placed::new("d", 1)).await;
    recorded(&world, 4).await;
    running.stop().await;
    assert_eq!(effects(&world).await, ["a 1", "c 1"]);
    // The row is the later event's.
    assert_eq!(world.database.count(in_an_hour).await, 1);
}

/// In a batch, and although the janitor has not deleted them.
#[tokio::test]
async fn keys_whose_time_is_over_are_recorded_anew() {
    async fn keep_many(
        mut ctx: BatchContext,
        events: Vec<Received<Placed>>,
    ) -> Result<(), HandlerError> {
        for placed in events {
            sqlx::query("INSERT INTO effect (n, customer) VALUES ($1, $2)")
                .bind(placed.event.n)
                .bind(placed.event.customer)
                .execute(ctx.connection())
                .await?;
        }
        Ok(())
    }
    let world = World::new().await;
    let builder = || consumer(&world).workers(1).on_many(keep_many);
    let declared = Running::start(&world.broker, "billing", builder()).await;
    declared.stop().await;
    world
        .database
        .execute(
            "INSERT INTO inbox.idempotency_key (consumer, type, key, expires_at)
             SELECT 'billing', 'orders.placed', 'order ' || n,
                    CASE WHEN n % 2 = 0 THEN now() - interval '1 s' END
             FROM generate_series(0, 19) AS n",
        )
        .await;
    // The janitor passes over rows that are locked; a handler changes no column of the key.
    let mut locking = outbox::transaction::begin(&world.database.admin)
        .await
        .unwrap();
    sqlx::query("SELECT FROM inbox.idempotency_key FOR KEY SHARE")
        .execute(&mut *locking)
        .await
        .unwrap();
    for n in 0..20 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    let running = Running::start(&world.broker, "billing", builder()).await;
    recorded(&world, 20).await;
    running.stop().await;
    locking.rollback().await.unwrap();
    let even: Vec<i64> = (0..20).step_by(2).collect();
    assert_eq!(world.database.effects("a").await, even);
    let over = "SELECT count(*) FROM inbox.idempotency_key WHERE expires_at IS NOT NULL";
    assert_eq!(world.database.count(over).await, 0);
}

#[tokio::test]
async fn keys_whose_time_is_over_are_deleted_in_batches_and_others_stay() {
    let world = World::new().await;
    world
        .database
        .execute(
            "INSERT INTO inbox.idempotency_key (consumer, type, key, expires_at)
             SELECT 'billing', 'orders.placed', 'old ' || n, now() - interval '1 s'
             FROM generate_series(1, 2500) AS n;
             INSERT INTO inbox.idempotency_key (consumer, type, key, expires_at)
             VALUES ('billing', 'orders.placed', 'for ever', NULL),
                    ('billing', 'orders.placed', 'for now', now() + interval '1 hour'),
                    ('renamed', 'orders.placed', 'old', now() - interval '1 s')",
        )
        .await;
    let running = Running::start(&world.broker, "billing", consumer(&world).on(keep)).await;
    eventually("old keys are gone", || async {
        let left = "SELECT count(*) FROM inbox.idempotency_key";
        world.database.count(left).await == 2
    })
    .await;
    running.stop().await;
    assert_eq!(
        world.database.texts(KEYS).await,
        ["orders.placed for ever", "orders.placed for now"]
    );
}
