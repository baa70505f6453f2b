//! Two releases of a service side by side, as while one takes the place of the other.

use std::time::{Duration, Instant};

use inbox::{ConsumerBuilder, Context, HandlerError};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use metrics_exporter_prometheus::PrometheusBuilder;
use postroom_testkit::eventually;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgQueryResult;
use uuid::Uuid;

use crate::world::{Log, Placed, Running, World, insert_effect, properties};

/// An event that the new release handles, and the old one does not know.
#[derive(Debug, Serialize, Deserialize)]
struct Paid {
    n: i64,
    customer: String,
}

impl outbox::Event for Paid {
    const TOPIC: &'static str = "orders.paid";

    fn key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

async fn placed(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

async fn paid(mut ctx: Context, event: Paid) -> Result<(), HandlerError> {
    let event = Placed::new(&event.customer, event.n);
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

fn old(world: &World) -> ConsumerBuilder {
    world.consumer().on::<Placed, _, _>(placed)
}

async fn pay(world: &World, customer: &str, n: i64) {
    let customer = customer.to_owned();
    let body = serde_json::to_vec(&Paid { n, customer }).unwrap();
    let channel = world.broker.channel().await;
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await.unwrap();
    let publish = channel.basic_publish(
        "postroom".into(),
        "orders.paid".into(),
        BasicPublishOptions::default(),
        &body,
        properties(Uuid::now_v7(), Some("a"), "orders.paid"),
    );
    // Confirmed, so that what is published on another channel comes after it.
    assert!(publish.await.unwrap().await.unwrap().is_ack());
}

/// The new release has bound the queue to its topics before it receives anything.
fn is_bound(world: &World) -> bool {
    let path = format!("bindings/{}/e/postroom/q/billing", world.broker.vhost.name);
    let bindings = world.broker.vhost.request("GET", &path, None);
    bindings.to_string().contains("orders.paid")
}

#[tokio::test]
async fn g4_a_type_that_only_the_new_release_handles_waits_for_it_in_its_place() {
    let world = World::new().await;
    let active = Running::start(&world.broker, "billing", old(&world)).await;
    let new = Running::spawn(old(&world).on::<Paid, _, _>(paid));
    eventually("the new release is there", || async { is_bound(&world) }).await;
    // The active one is sent what only the other handles, and what comes behind it.
    pay(&world, "a", 1).await;
    world.broker.publish(&Placed::new("a", 2)).await;
    world.broker.publish(&Placed::new("a", 3)).await;
    eventually("all are handled, in their order", || async {
        world.database.effects("a").await == [1, 2, 3] && world.database.parked().await.is_empty()
    })
    .await;
    active.stop().await;
    new.stop().await;
}

#[tokio::test]
async fn a_type_that_nobody_handles_is_dead_after_a_time_and_lets_its_key_go() {
    const LONGEST: Duration = Duration::from_secs(3);
    let world = World::new().await;
    let builder = || old(&world).bind("orders.paid").max_unhandled(LONGEST);
    let declared = Running::start(&world.broker, "billing", builder()).await;
    declared.stop().await;
    // Both wait in the queue, so the second one comes long before the first one is dead.
    pay(&world, "a", 1).await;
    world.broker.publish(&Placed::new("a", 2)).await;
    // Everything here runs on this thread.
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let began = Instant::now();
    let running = Running::start(&world.broker, "billing", builder()).await;
    eventually("one is dead, the other is handled", || async {
        world.database.parked().await == ["unhandled/dead/1/f"]
            && world.database.effects("a").await == [2]
    })
    .await;
    assert!(began.elapsed() >= LONGEST, "it waited for a handler");
    running.stop().await;
    let counted = recorder.handle().render();
    for reason in ["unhandled", "behind"] {
        let parked = format!("parked_total{{consumer=\"billing\",reason=\"{reason}\"}} 1\n");
        assert!(counted.contains(&parked), "{reason}: {counted}");
    }
}

/// The old release has no handler for the types that the new one has parked.
#[tokio::test]
async fn an_old_release_leaves_what_the_new_one_parked() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let fails = move |mut ctx: Context, event: Paid| {
        let seen = seen.clone();
        async move {
            seen.add("run");
            if seen.count("run") < 8 {
                return Err(HandlerError::retry("the bank is away"));
            }
            paid_now(&mut ctx, &event).await?;
            Ok::<_, HandlerError>(())
        }
    };
    let new = old(&world).max_attempts(100).on::<Paid, _, _>(fails);
    let new = Running::start(&world.broker, "billing", new).await;
    let standby = Running::spawn(old(&world).workers(2).parked_workers(4));
    pay(&world, "a", 1).await;
    eventually("it is handled in the end", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    new.stop().await;
    standby.stop().await;
    assert_eq!(log.count("run"), 8);
}

async fn paid_now(ctx: &mut Context, event: &Paid) -> Result<PgQueryResult, sqlx::Error> {
    sqlx::query("INSERT INTO effect (n, customer) VALUES ($1, $2)")
        .bind(event.n)
        .bind(&event.customer)
        .execute(ctx.connection())
        .await
}

/// A missing handler is found once: the messages behind the first of a key have waited for the
/// same, and as long.
#[tokio::test]
async fn messages_that_nobody_handles_do_not_wait_one_after_another() {
    let world = World::new().await;
    let parked = "INSERT INTO inbox.parked (consumer, state, reason, holds_key, due_at, parked_at, message_id,
                                            topic, key, type, headers, payload)
                  SELECT 'billing', 'waiting', CASE n WHEN 1 THEN 'unhandled' ELSE 'behind' END, true,
                         CASE n WHEN 1 THEN now() - interval '6 minutes' END, now() - interval '6 minutes',
                         n::text, 'gone', 'a', CASE n WHEN 4 THEN 'orders.placed' ELSE 'gone' END, '{}',
                         '{\"n\": 4, \"customer\": \"a\"}'
                  FROM generate_series(1, 4) AS n";
    world.database.execute(parked).await;
    let running = Running::start(&world.broker, "billing", old(&world)).await;
    eventually("the last is handled", || async {
        world.database.effects("a").await == [4]
    })
    .await;
    running.stop().await;
    let dead = ["unhandled/dead/1/f"; 3];
    assert_eq!(world.database.parked().await, dead);
}
