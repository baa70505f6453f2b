//! README's statements that say when everything has settled.

use std::time::Duration;

use inbox::{Context, HandlerError};
use postroom_testkit::{Login, RelayProcess, Stack, eventually};
use sqlx::{AssertSqlSafe, Executor as _, PgPool};
use uuid::Uuid;

use crate::world::{Placed, Running, Shipped, World};

const README: &str = include_str!("../../../README.md");

/// The two statements, for one pair of a producer and a consumer.
struct Settled {
    sent: String,
    unsettled: String,
}

impl Settled {
    /// Takes the statements out of README, and puts these names in.
    fn of(topic: &str, source: &str, consumer: &str) -> Self {
        let blocks = README.split("```sql\n").skip(1);
        let blocks = blocks.map(|block| block.split("```").next().unwrap());
        let blocks = blocks.map(|block| {
            let named = block.replace("'billing'", &format!("'{consumer}'"));
            let named = named.replace("'orders'", &format!("'{source}'"));
            named.replace("'orders.placed'", &format!("'{topic}'"))
        });
        let find = |word| blocks.clone().find(|block: &String| block.contains(word));
        Self {
            sent: find("SELECT message_id FROM outbox.message").unwrap(),
            unsettled: find("inbox.processed").unwrap(),
        }
    }

    /// Returns where each message is that has not settled.
    async fn ask(&self, producer: &PgPool, consumer: &PgPool) -> Vec<String> {
        let sent: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(self.sent.clone()))
            .fetch_all(producer)
            .await
            .unwrap();
        let rows: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(self.unsettled.clone()))
            .bind(sent)
            .fetch_all(consumer)
            .await
            .unwrap();
        let mut places: Vec<String> = rows.into_iter().map(|(_, place)| place).collect();
        places.sort();
        places
    }
}

/// Handles 1 and publishes, rejects 2, and puts off 3.
async fn ship(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    match event.n {
        1 => {
            ctx.publish(&Shipped { n: 1 }).await?;
            Ok(())
        }
        2 => Err(HandlerError::reject("for good")),
        _ => Err(HandlerError::defer(Duration::from_hours(1), "not yet")),
    }
}

async fn keep(mut ctx: Context, event: Shipped) -> Result<(), HandlerError> {
    let sql = "INSERT INTO effect (n, customer) VALUES ($1, 'ledger')";
    let insert = sqlx::query(sql).bind(event.n);
    insert.execute(ctx.connection()).await?;
    Ok(())
}

/// Starts a relay of a database of its own at the world's broker.
async fn relay_of(stack: &Stack, world: &World, source: &str) -> RelayProcess {
    let broker = world.broker.url();
    stack
        .relay_with(&[
            ("POSTROOM_AMQP_URL", &broker),
            ("POSTROOM_AMQP_SOURCE", source),
            ("POSTROOM_PUBLISH_DROP_UNROUTABLE", "audit.#"),
        ])
        .await
}

/// Waits until a query finds a value.
async fn found(pool: &PgPool, sql: &'static str) -> i64 {
    let mut value = None;
    eventually("a row is found", async || {
        let query = sqlx::query_scalar(sql);
        value = query.fetch_optional(pool).await.unwrap();
        value.is_some()
    })
    .await;
    value.unwrap()
}

#[tokio::test]
async fn everything_has_settled_when_the_readme_says_so() {
    // The databases of `orders`, which publishes, and of `billing`, which handles and publishes.
    let (orders, billing) = (Stack::new().await, Stack::new().await);
    let world = World::new().await;
    let _orders = relay_of(&orders, &world, "orders").await;
    let _billing = relay_of(&billing, &world, "billing").await;
    let producer = orders.database.pool(Login::Admin).await;
    let consumer = billing.database.pool(Login::Admin).await;
    let placed = Settled::of("orders.placed", "orders", "billing");
    let shipped = Settled::of("orders.shipped", "billing", "ledger");

    let publish = async |n: i64, more: &str| {
        let sql = format!(
            "SELECT outbox.publish('orders.placed', '{{\"n\": {n}, \"customer\": \"a\"}}'{more})"
        );
        producer.execute(AssertSqlSafe(sql)).await.unwrap();
    };
    publish(1, "").await;
    publish(1, ", message_id => gen_random_uuid()").await;
    publish(1, ", message_id => 'd41d8cd9-8f00-7204-a980-0998ecf8427e'").await;
    publish(1, ", expires_at => now() - interval '1 second'").await;
    publish(2, ", message_id => gen_random_uuid()").await;
    publish(2, "").await;
    publish(3, ", message_id => gen_random_uuid()").await;
    producer
        .execute("SELECT outbox.publish('audit.seen', '1')")
        .await
        .unwrap();
    // One that an operator discards.
    publish(4, "").await;
    let parked = "SELECT position FROM outbox.parked
                  WHERE outbox.payload_as_json(payload, content_type) ->> 'n' = '4'";
    let position: i64 = found(&producer, parked).await;
    let position = position.to_string();
    let discard = ["parked", "discard", &position];
    orders.command(&discard).await.succeeded();
    eventually(
        "the relay has dropped the expired and the discarded one",
        async || placed.ask(&producer, &consumer).await == ["on its way"; 6],
    )
    .await;

    let ledger = inbox::Consumer::builder("ledger")
        .database(world.database.pool(12))
        .amqp_url(world.broker.url())
        .on::<Shipped, _, _>(keep);
    let billing_pool = billing.database.pool(Login::Consumer).await;
    let builder = inbox::Consumer::builder("billing")
        .database(billing_pool)
        .amqp_url(world.broker.url())
        .on::<Placed, _, _>(ship);
    let handling = Running::start(&world.broker, "billing", builder).await;
    let keeping = Running::spawn(ledger);
    let left = ["dead: rejected", "dead: rejected", "waiting: deferred"];
    eventually(
        "all are handled but those that an operator decides",
        async || placed.ask(&producer, &consumer).await == left,
    )
    .await;
    consumer
        .execute("SELECT inbox.discard(id) FROM inbox.parked")
        .await
        .unwrap();
    assert!(placed.ask(&producer, &consumer).await.is_empty());

    eventually("what the handlers published has settled", async || {
        shipped
            .ask(&consumer, &world.database.admin)
            .await
            .is_empty()
    })
    .await;
    // Not by silence: as many effects as messages were handled.
    assert_eq!(world.database.effects("ledger").await, [1, 1, 1]);
    handling.stop().await;
    keeping.stop().await;
}
