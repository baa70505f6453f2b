//! Events of one meaning where messages share transactions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use inbox::{BatchContext, ConsumerBuilder, Context, HandlerError, Received};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use metrics_exporter_prometheus::PrometheusBuilder;
use postroom_testkit::eventually;
use tokio::time::sleep;
use uuid::Uuid;

use super::{RECORDED_IDS, assert_no_failure, consumer, keep, recorded};
use crate::{
    together::transactions,
    world::{Log, Placed, Running, World, insert_effect, metric, properties},
};

/// Publishes orders while no consumer runs, one by each customer, so that they share transactions.
async fn waiting(world: &World, orders: i64, customers: &[&str]) {
    let declared = consumer(world).on(keep);
    let declared = Running::start(&world.broker, "billing", declared).await;
    declared.stop().await;
    for n in 0..orders {
        for customer in customers {
            world.broker.publish(&Placed::new(customer, n)).await;
        }
    }
}

/// Returns the orders that had an effect, as often as they had one.
async fn orders(world: &World) -> Vec<i64> {
    sqlx::query_scalar("SELECT n FROM effect ORDER BY n")
        .fetch_all(&world.database.admin)
        .await
        .unwrap()
}

fn sharing(world: &World) -> ConsumerBuilder {
    consumer(world).workers(1).messages_per_transaction(20)
}

#[tokio::test]
async fn g5_events_of_one_meaning_in_one_transaction_have_one_effect() {
    let world = World::new().await;
    waiting(&world, 20, &["a", "b", "c"]).await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let builder = sharing(&world).on(keep);
    let running = Running::start(&world.broker, "billing", builder).await;
    recorded(&world, 60).await;
    running.stop().await;
    assert_eq!(orders(&world).await, (0..20).collect::<Vec<i64>>());
    assert!(transactions(&world).await < 20);
    let counted = recorder.handle().render();
    let value = |name| metric(&counted, name);
    assert_eq!(value("postroom_inbox_duplicate_keys_total"), Some(40.0));
    assert_eq!(value("postroom_inbox_handled_total"), Some(20.0));
    assert_eq!(value("postroom_inbox_shared_failed_total"), Some(0.0));
}

/// The keys go with the transaction; each message then runs by itself.
#[tokio::test]
async fn g5_the_next_event_of_a_meaning_is_handled_if_the_first_takes_its_transaction_down() {
    let world = World::new().await;
    waiting(&world, 3, &["a", "b", "c"]).await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            insert_effect(&mut ctx, &event).await?;
            if event.n == 1 {
                seen.add(event.customer.clone());
                // The customer whose order came first; another one's is handled.
                if seen.lines()[0] == event.customer {
                    return Err(HandlerError::reject("never"));
                }
            }
            Ok(())
        }
    };
    let builder = sharing(&world).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    // The customer's third order waits behind the dead one.
    recorded(&world, 9).await;
    running.stop().await;
    assert_eq!(orders(&world).await, [0, 1, 2]);
    let lines = log.lines();
    assert!(
        lines.len() >= 3,
        "in a shared transaction, and again: {lines:?}"
    );
    assert_eq!(lines.iter().filter(|line| **line != lines[0]).count(), 1);
    assert_eq!(
        world.database.parked().await,
        ["rejected/dead/1/t", "behind/waiting/0/t"]
    );
}

#[tokio::test]
async fn g5_a_batch_holds_no_duplicate_by_meaning() {
    async fn keep_many(
        mut ctx: BatchContext,
        events: Vec<Received<Placed>>,
    ) -> Result<(), HandlerError> {
        assert!(!events.is_empty());
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
        Ok(())
    }
    let world = World::new().await;
    waiting(&world, 50, &["a", "b", "c", "d"]).await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let builder = consumer(&world)
        .workers(2)
        .messages_per_transaction(30)
        .on_many(keep_many);
    let running = Running::start(&world.broker, "billing", builder).await;
    recorded(&world, 200).await;
    // A batch of duplicates alone, and a batch of one.
    world.broker.publish(&Placed::new("e", 1)).await;
    recorded(&world, 201).await;
    running.stop().await;
    assert_eq!(orders(&world).await, (0..50).collect::<Vec<i64>>());
    assert!(transactions(&world).await < 40);
    let counted = recorder.handle().render();
    let value = |name| metric(&counted, name);
    assert_eq!(value("postroom_inbox_duplicate_keys_total"), Some(151.0));
    assert_eq!(value("postroom_inbox_handled_total"), Some(50.0));
}

/// Publishes to one queue alone.
async fn publish_to(world: &World, queue: &str, event: &Placed) {
    let channel = world.broker.channel().await;
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await.unwrap();
    let body = serde_json::to_vec(event).unwrap();
    let properties = properties(Uuid::now_v7(), Some(&event.customer), "orders.placed");
    let options = BasicPublishOptions::default();
    let published = channel.basic_publish("".into(), queue.into(), options, &body, properties);
    published.await.unwrap().await.unwrap();
}

/// A consumer of a queue of its own, whose first message keeps the worker busy until the others have arrived, and whose
/// second one waits for the second one of the other consumer: each then has a key that the other is going to ask for.
fn crossing(
    world: &World,
    queue: &'static str,
    log: &Log,
    go: &Arc<AtomicBool>,
) -> ConsumerBuilder {
    let (log, go) = (log.clone(), Arc::clone(go));
    let handler = move |mut ctx: Context, event: Placed| {
        let (log, go) = (log.clone(), Arc::clone(&go));
        async move {
            insert_effect(&mut ctx, &event).await?;
            if event.n < 0 {
                while !go.load(Ordering::SeqCst) {
                    sleep(Duration::from_millis(10)).await;
                }
                return Ok(());
            }
            log.add(queue);
            while log.count("first") == 0 || log.count("second") == 0 {
                sleep(Duration::from_millis(10)).await;
            }
            Ok::<_, HandlerError>(())
        }
    };
    sharing(world).queue(queue).on::<Placed, _, _>(handler)
}

/// Keys of a shared transaction are recorded in the order of its messages: the server ends one of two transactions that
/// wait for each other, and its messages run by themselves.
#[tokio::test]
async fn g5_transactions_that_wait_for_each_others_keys_have_one_effect_each() {
    let world = World::new().await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (log, go) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let mut running = Vec::new();
    for (queue, orders) in [("first", [-1, 1, 2]), ("second", [-2, 2, 1])] {
        let builder = crossing(&world, queue, &log, &go);
        running.push(Running::start(&world.broker, queue, builder).await);
        for n in orders {
            let customer = format!("{queue} {n}");
            publish_to(&world, queue, &Placed::new(&customer, n)).await;
        }
        eventually("all are delivered", || async {
            world.broker.queue(queue).await == Some((0, 1))
        })
        .await;
    }
    go.store(true, Ordering::SeqCst);
    eventually("all are recorded", || async {
        world.database.count(RECORDED_IDS).await == 6
    })
    .await;
    for consumer in running {
        consumer.stop().await;
    }
    assert_eq!(orders(&world).await, [-2, -1, 1, 2]);
    assert!(world.database.parked().await.is_empty());
    // Mostly the transactions have deadlocked, and one was run again; on a slow machine one may have ended first.
    assert_no_failure(&recorder);
}
