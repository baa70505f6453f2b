//! A consumer without prepared statements, behind a pooler in transaction mode and directly.

use std::time::Duration;

use inbox::{ConsumerBuilder, Context, HandlerError};
use postroom_testkit::{PgBouncer, eventually};
use sqlx::{PgPool, Row as _};

use crate::world::{Database, Log, Placed, Running, Shipped, World};

/// Customers whose messages are handled side by side, and messages of each.
const CUSTOMERS: i64 = 6;
const MESSAGES: i64 = 25;

/// Leaves an effect and a follow-up. Every fifth message fails until it has been parked; one message hangs
/// in the database at first, one keeps its context, and one is rejected.
async fn handle(log: Log, mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    let name = format!("{}/{}", event.customer, event.n);
    log.add(&name);
    let attempts = log.count(&name);
    if event.n % 5 == 0 && attempts <= 3 {
        return Err(HandlerError::retry("not yet"));
    }
    match (name.as_str(), attempts) {
        ("c1/7", 1) => {
            let hang = sqlx::query("SELECT pg_sleep($1)")
                .bind(60.0)
                .persistent(false);
            hang.execute(ctx.connection()).await?;
        }
        ("c2/7", 1) => {
            tokio::spawn(async move {
                let _kept = ctx;
                std::future::pending::<()>().await;
            });
            return Ok(());
        }
        ("unwanted/1", _) => return Err(HandlerError::reject("unwanted")),
        _ => {}
    }
    let effect = sqlx::query("INSERT INTO effect (n, customer) VALUES ($1, $2)")
        .bind(event.n)
        .bind(&event.customer)
        .persistent(false);
    effect.execute(ctx.connection()).await?;
    let shipped = outbox::Message::event(&Shipped { n: event.n }).unwrap();
    ctx.publish(shipped).await.unwrap();
    Ok(())
}

fn consumer(world: &World, pool: &PgPool) -> ConsumerBuilder {
    let log = Log::default();
    world
        .consumer()
        .database(pool.clone())
        .prepared_statements(false)
        .attempts_in_place(2)
        .workers(8)
        .parked_workers(2)
        .handler_timeout(Duration::from_secs(2))
        .on::<Placed, _, _>(move |ctx: Context, event: Placed| handle(log.clone(), ctx, event))
}

/// Handles, parks, retries and discards; each message comes twice.
async fn everything_happens_once(world: &World, pool: &PgPool) {
    let running = Running::start(&world.broker, "billing", consumer(world, pool)).await;
    for n in 1..=MESSAGES {
        for customer in 1..=CUSTOMERS {
            let event = Placed::new(&format!("c{customer}"), n);
            let id = world.broker.publish(&event).await;
            world.broker.publish_as(id, &event).await;
        }
    }
    world.broker.publish(&Placed::new("unwanted", 1)).await;
    let parked = inbox::Parked::new(pool.clone(), "billing").prepared_statements(false);
    eventually("all are handled, and one is dead", async || {
        world.database.parked().await == ["rejected/dead/1/t"]
            && world.database.count("SELECT count(*) FROM effect").await == CUSTOMERS * MESSAGES
    })
    .await;
    let dead = parked.list(0, 10).await.unwrap();
    assert!(parked.retry(dead[0].id).await.unwrap());
    eventually("it is dead again", async || {
        parked
            .list(0, 10)
            .await
            .unwrap()
            .first()
            .is_some_and(|row| row.dead)
    })
    .await;
    assert!(parked.discard(dead[0].id).await.unwrap());
    running.stop().await;
    world.broker.settled("billing").await;
    let all: Vec<i64> = (1..=MESSAGES).collect();
    for customer in 1..=CUSTOMERS {
        let effects = world.database.effects(&format!("c{customer}")).await;
        assert_eq!(effects, all, "c{customer}");
    }
    let published = "SELECT count(*) FROM outbox.message WHERE topic = 'orders.shipped'";
    assert_eq!(world.database.count(published).await, CUSTOMERS * MESSAGES);
    assert_eq!(world.database.parked().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_the_effect_happens_once_behind_a_transaction_pooler() {
    let world = World::new().await;
    let direct = world.database.url();
    let pooler = PgBouncer::start(direct.as_str(), "extra_float_digits");
    let url = pooler.url(direct.as_str()).parse().unwrap();
    let pool = Database::pool_at(&url, 14);
    everything_happens_once(&world, &pool).await;
}

/// The pooler would make single failures of some statements pass for outages of the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_without_prepared_statements_leaves_none_at_the_server() {
    let world = World::new().await;
    let pool = world.database.pool(14);
    everything_happens_once(&world, &pool).await;
    // All but the one whose context a handler kept.
    let mut all: Vec<_> = std::iter::from_fn(|| pool.try_acquire()).collect();
    assert!(all.len() > 1, "the workers had connections of their own");
    for connection in &mut all {
        let kept = sqlx::raw_sql("SELECT count(*) FROM pg_prepared_statements");
        let kept = kept.fetch_one(&mut **connection).await.unwrap();
        assert_eq!(kept.get::<i64, _>(0), 0);
    }
}
