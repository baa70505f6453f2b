//! G5 where messages share transactions, by one handler or many at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use inbox::{BatchContext, ConsumerBuilder, Context, HandlerError, Received};
use tower::util::MapRequestLayer;
use uuid::Uuid;

use postroom_testkit::eventually;

use crate::world::{Log, Placed, Running, World, insert_effect};

/// Messages of twenty customers, four of each message id where `copies` says so.
async fn publish(world: &World, count: i64, copies: usize) {
    for n in 0..count {
        let event = Placed::new(&format!("c{}", n % 20), n);
        let id = Uuid::now_v7();
        for _ in 0..copies {
            world.broker.publish_as(id, &event).await;
        }
    }
}

/// Publishes while no consumer runs, so that messages wait, and share transactions.
pub(crate) async fn waiting(world: &World, count: i64, copies: usize) {
    let declared = Running::start(
        &world.broker,
        "billing",
        world.consumer().on::<Placed, _, _>(keep),
    )
    .await;
    declared.stop().await;
    publish(world, count, copies).await;
}

async fn keep(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

pub(crate) async fn effects(world: &World, count: i64) {
    eventually("all have had their effect", || async {
        world
            .database
            .count("SELECT count(DISTINCT n) FROM effect")
            .await
            == count
    })
    .await;
}

/// Stops a consumer, and goes on with another until the queue is empty: what waits when a consumer
/// stops comes again.
pub(crate) async fn drain(world: &World, running: Running, another: impl Fn() -> ConsumerBuilder) {
    let mut running = running;
    loop {
        eventually("nothing is left to send", || async {
            world.broker.queue("billing").await == Some((0, 1))
        })
        .await;
        running.stop().await;
        eventually("the consumer is gone", || async {
            matches!(world.broker.queue("billing").await, Some((_, 0)))
        })
        .await;
        if world.broker.queue("billing").await == Some((0, 0)) {
            return;
        }
        running = Running::start(&world.broker, "billing", another()).await;
    }
}

/// Each effect once, and each customer's in order, except those named.
pub(crate) async fn judge(world: &World, count: i64) {
    assert_eq!(
        world.database.count("SELECT count(*) FROM effect").await,
        count
    );
    for customer in 0..20 {
        let effects = world.database.effects(&format!("c{customer}")).await;
        assert!(effects.is_sorted(), "customer {customer}: {effects:?}");
    }
}

pub(crate) async fn transactions(world: &World) -> i64 {
    world
        .database
        .count("SELECT count(DISTINCT xmin::text) FROM effect")
        .await
}

#[tokio::test]
async fn g5_messages_share_transactions_and_each_has_its_effect_once() {
    let world = World::new().await;
    waiting(&world, 200, 2).await;
    let builder = || {
        let builder = world.consumer().workers(2).messages_per_transaction(20);
        builder.on::<Placed, _, _>(keep)
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
}

/// A message that fails takes the transaction with it; the others are handled by themselves.
#[tokio::test]
async fn g5_a_failing_message_of_a_shared_transaction_stops_its_key_alone() {
    let world = World::new().await;
    waiting(&world, 100, 1).await;
    let handler = |mut ctx: Context, event: Placed| async move {
        insert_effect(&mut ctx, &event).await?;
        match event.n {
            43 => Err(HandlerError::reject("never")),
            55 => panic!("a bug"),
            _ => Ok(()),
        }
    };
    let builder = world
        .consumer()
        .workers(2)
        .messages_per_transaction(50)
        .max_attempts(2)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    // Behind 43 wait 63 and 83 of its customer, behind 55 wait 75 and 95.
    effects(&world, 94).await;
    let dead = "SELECT count(*) FROM inbox.parked WHERE state = 'dead'";
    let behind = "SELECT count(*) FROM inbox.parked WHERE reason = 'behind'";
    eventually("two are dead, and four wait behind them", || async {
        let counted = (world.database.count(dead), world.database.count(behind));
        (counted.0.await, counted.1.await) == (2, 4)
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
    judge(&world, 94).await;
}

/// A failure at COMMIT fails all that share the transaction, and then its own message alone.
#[tokio::test]
async fn g5_a_commit_that_fails_is_tried_one_by_one() {
    let world = World::new().await;
    waiting(&world, 60, 1).await;
    world
        .database
        .execute(
            "CREATE FUNCTION not_seven() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF NEW.n = 7 THEN RAISE 'not this one'; END IF; RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER not_seven AFTER INSERT ON effect
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION not_seven()",
        )
        .await;
    let builder = world
        .consumer()
        .workers(1)
        .messages_per_transaction(30)
        .on::<Placed, _, _>(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    // 27 and 47 wait behind 7.
    effects(&world, 57).await;
    running.stop().await;
    judge(&world, 57).await;
    assert_eq!(world.database.effects("c7").await, Vec::<i64>::new());
}

/// The layers run inside the shared transaction, once for each message.
#[tokio::test]
async fn layers_surround_each_handler_of_a_shared_transaction() {
    let world = World::new().await;
    waiting(&world, 30, 1).await;
    let log = Log::default();
    let seen = log.clone();
    let count = MapRequestLayer::new(move |ctx: Context| {
        seen.add("passed");
        ctx
    });
    let builder = world
        .consumer()
        .workers(1)
        .messages_per_transaction(10)
        .on::<Placed, _, _>(keep)
        .layer(count);
    let running = Running::start(&world.broker, "billing", builder).await;
    effects(&world, 30).await;
    running.stop().await;
    judge(&world, 30).await;
    assert_eq!(log.count("passed"), 30);
    assert!(transactions(&world).await < 20);
}

/// Two processes take the same messages at once, in different orders.
#[tokio::test]
async fn g5_two_processes_that_share_messages_have_one_effect_each() {
    let world = World::new().await;
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let consumer = |queue: &str| {
        let sizes = Arc::clone(&sizes);
        let handler = move |mut ctx: BatchContext, events: Vec<Received<Placed>>| {
            sizes.lock().unwrap().push(events.len());
            async move {
                for placed in events {
                    sqlx::query("INSERT INTO effect (n, customer) VALUES ($1, $2)")
                        .bind(placed.event.n)
                        .bind(placed.event.customer)
                        .execute(ctx.connection())
                        .await?;
                }
                Ok::<(), HandlerError>(())
            }
        };
        // The same consumer's name for two queues that both receive every message.
        world
            .consumer()
            .queue(queue)
            .workers(3)
            .handler_timeout(Duration::from_secs(20))
            .on_many::<Placed, _, _>(handler)
    };
    let first = Running::start(&world.broker, "first", consumer("first")).await;
    let second = Running::start(&world.broker, "second", consumer("second")).await;
    publish(&world, 300, 1).await;
    effects(&world, 300).await;
    for queue in ["first", "second"] {
        eventually("all are delivered", async || {
            world
                .broker
                .queue(queue)
                .await
                .is_some_and(|(ready, _)| ready == 0)
        })
        .await;
    }
    first.stop().await;
    second.stop().await;
    world.broker.settled("first").await;
    world.broker.settled("second").await;
    assert_eq!(
        world.database.count("SELECT count(*) FROM effect").await,
        300
    );
}

/// A faulty publisher gives two messages one id: the one that may run is the one that counts.
#[tokio::test]
async fn one_id_with_a_held_key_and_a_free_one_is_handled_once() {
    let world = World::new().await;
    let handler = |mut ctx: Context, event: Placed| async move {
        if event.n == 0 {
            return Err(HandlerError::reject("never"));
        }
        insert_effect(&mut ctx, &event).await?;
        Ok(())
    };
    let builder = || world.consumer().workers(1).messages_per_transaction(10);
    let first = builder().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", first).await;
    world.broker.publish(&Placed::new("held", 0)).await;
    eventually("its key is held", || async {
        world.database.parked().await == ["rejected/dead/1/t"]
    })
    .await;
    running.stop().await;
    let id = Uuid::now_v7();
    world.broker.publish_as(id, &Placed::new("held", 1)).await;
    world.broker.publish_as(id, &Placed::new("free", 2)).await;
    let second = || builder().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", second()).await;
    drain(&world, running, second).await;
    assert_eq!(world.database.effects("free").await, [2]);
}
