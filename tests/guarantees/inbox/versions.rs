//! Bodies in several versions: newer ones wait for a release that knows them, older ones are brought up to date.

use std::time::Duration;

use inbox::{BatchContext, ConsumerBuilder, Context, HandlerError, Parked, Reason, Received};
use postroom_testkit::eventually;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Log, Placed, Running, World, insert_effect, properties};

/// The event in its third version. The first two are [`Placed`], and one with `number` in place of `n`.
#[derive(Debug, Serialize, Deserialize)]
struct PlacedV3 {
    number: i64,
    customer: String,
    currency: String,
}

impl outbox::Event for PlacedV3 {
    const TOPIC: &'static str = "orders.placed";
    const VERSION: u32 = 3;

    fn key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct PlacedV2 {
    number: i64,
    customer: String,
}

async fn first(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

async fn third(mut ctx: Context, event: PlacedV3) -> Result<(), HandlerError> {
    assert_eq!(event.currency, "EUR");
    let effect = Placed::new(&event.customer, event.number);
    insert_effect(&mut ctx, &effect).await?;
    Ok(())
}

/// The release before, which knows the first version.
fn old(world: &World) -> ConsumerBuilder {
    world.consumer().on::<Placed, _, _>(first)
}

/// Adds the steps from the first version to the third.
fn upcasting(builder: ConsumerBuilder) -> ConsumerBuilder {
    builder
        .upcast::<PlacedV3, _, _>(1, |mut body: Value| {
            body["number"] = body["n"].take();
            body
        })
        .try_upcast::<PlacedV3, _, _, _>(2, |old: PlacedV2| match old.number {
            ..0 => Err(format!("{} is no order", old.number)),
            number => Ok(PlacedV3 {
                number,
                customer: old.customer,
                currency: "EUR".to_owned(),
            }),
        })
}

fn new(world: &World) -> ConsumerBuilder {
    upcasting(world.consumer()).on(third)
}

fn body(version: u32, customer: &str, n: i64) -> Value {
    match version {
        1 => json!({"n": n, "customer": customer}),
        2 => json!({"number": n, "customer": customer}),
        _ => json!({"number": n, "customer": customer, "currency": "EUR"}),
    }
}

/// Publishes the event in a version, as its publisher's relay does.
async fn publish(world: &World, version: u32, customer: &str, n: i64) {
    let mut properties = properties(Uuid::now_v7(), Some(customer), "orders.placed");
    let mut headers = properties.headers().clone().unwrap();
    headers.insert("cloudEvents_eventversion".into(), i64::from(version).into());
    properties = properties.with_headers(headers);
    let body = serde_json::to_vec(&body(version, customer, n)).unwrap();
    world.broker.publish_raw(properties, &body).await;
}

#[tokio::test]
async fn g4_a_newer_version_waits_in_its_place_for_the_release_that_knows_it() {
    let world = World::new().await;
    let active = Running::start(&world.broker, "billing", old(&world)).await;
    let standby = Running::spawn(new(&world));
    publish(&world, 1, "a", 1).await;
    publish(&world, 3, "a", 2).await;
    publish(&world, 1, "a", 3).await;
    publish(&world, 2, "a", 4).await;
    publish(&world, 1, "a", 5).await;
    eventually("all are handled, in their order", || async {
        world.database.effects("a").await == [1, 2, 3, 4, 5]
            && world.database.parked().await.is_empty()
    })
    .await;
    active.stop().await;
    standby.stop().await;
}

#[tokio::test]
async fn g3_a_newer_version_waits_without_a_limit_and_holds_its_key_alone() {
    let world = World::new().await;
    let builder = || {
        let builder = old(&world).max_unhandled(Duration::ZERO).max_attempts(1);
        builder.max_deferral(Duration::ZERO)
    };
    let active = Running::start(&world.broker, "billing", builder()).await;
    publish(&world, 2, "a", 1).await;
    publish(&world, 1, "a", 2).await;
    publish(&world, 1, "b", 3).await;
    let waiting = ["newer_version/waiting/0/t", "behind/waiting/0/t"];
    eventually("another key goes on", || async {
        world.database.effects("b").await == [3] && world.database.parked().await == waiting
    })
    .await;
    // An operator's retry, and a year, change nothing.
    let parked = Parked::new(world.database.pool(1), "billing");
    let row = parked.list(0, 1).await.unwrap().remove(0);
    assert_eq!(row.reason, Some(Reason::NewerVersion));
    let error = row.error.unwrap();
    assert!(
        error.contains("start a release that knows version 2"),
        "{error}"
    );
    assert!(parked.retry(row.id).await.unwrap());
    world
        .database
        .execute("UPDATE inbox.parked SET parked_at = now() - interval '1 year'")
        .await;
    // A parked message that is due later than the retried one has been handled, so the retried one was passed over.
    world
        .database
        .execute(
            "INSERT INTO inbox.parked (consumer, state, reason, holds_key, due_at, topic, key, message_id, headers,
                                       payload)
             VALUES ('billing', 'waiting', 'failed', true, now(), 'orders.placed', 'b', 'm-1', '{}',
                     '{\"n\": 4, \"customer\": \"b\"}')",
        )
        .await;
    eventually("another parked message is handled", || async {
        world.database.effects("b").await == [3, 4]
    })
    .await;
    assert_eq!(world.database.parked().await, waiting);
    assert!(world.database.effects("a").await.is_empty());
    active.stop().await;
    let running = Running::start(&world.broker, "billing", new(&world)).await;
    eventually("the new release handles both in order", || async {
        world.database.effects("a").await == [1, 2] && world.database.parked().await.is_empty()
    })
    .await;
    running.stop().await;
}

/// The index must name the rows that a process knows, however many it does not know.
#[tokio::test]
async fn g6_many_newer_versions_cost_a_process_that_does_not_know_them_nothing() {
    let world = World::new().await;
    world
        .database
        .execute(
            "INSERT INTO inbox.parked (consumer, state, reason, holds_key, topic, key, type, version, message_id,
                                       headers, payload)
             SELECT 'billing', 'waiting', 'newer_version', true, 'orders.placed', n::text, 'orders.placed',
                    CASE WHEN n > 3000 THEN 7 ELSE 3 END, 'm-' || n, '{\"cloudEvents_eventversion\": 3}',
                    convert_to('{\"number\": 1, \"currency\": \"EUR\", \"customer\": \"a\"}', 'UTF8')
             FROM generate_series(1, 13000) AS n; ANALYZE inbox.parked",
        )
        .await;
    let wake = inbox::statements::ALL
        .iter()
        .find(|(name, _)| *name == "newer::WAKE");
    let explain = format!("EXPLAIN (FORMAT JSON) {}", wake.unwrap().1)
        .replace("$1", "'billing'")
        .replace("$2::", "'{orders.placed}'::")
        .replace("$3::", "'{1}'::")
        .replace("$4", "1000");
    let plan: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
        .fetch_one(&world.database.admin)
        .await
        .unwrap();
    assert!(plan.to_string().contains("parked_newer"), "{plan:#}");
    // More rows than one statement wakes.
    let running = Running::start(&world.broker, "billing", new(&world).parked_workers(3)).await;
    eventually("those that are known are handled", || async {
        world.database.effects("a").await.len() == 3_000
    })
    .await;
    running.stop().await;
    let left = "SELECT count(*) FROM inbox.parked WHERE version = 7 AND due_at IS NULL";
    assert_eq!(world.database.count(left).await, 10_000);
}

#[tokio::test]
async fn older_versions_pass_the_steps_also_when_they_were_dead() {
    let world = World::new().await;
    let running = Running::start(&world.broker, "billing", new(&world)).await;
    for version in 1..=3 {
        publish(&world, version, "a", version.into()).await;
    }
    // A publisher that sets no version means the first.
    world.broker.publish(&Placed::new("a", 4)).await;
    publish(&world, 2, "b", -1).await;
    eventually("good ones are handled, a bad one is dead", || async {
        world.database.effects("a").await == [1, 2, 3, 4]
            && world.database.parked().await == ["undecodable/dead/1/t"]
    })
    .await;
    running.stop().await;
    let parked = Parked::new(world.database.pool(1), "billing");
    let row = parked.list(0, 1).await.unwrap().remove(0);
    assert_eq!(
        row.error.as_deref(),
        Some(
            "the body could not be read as the event of its type: cannot turn the body's version 2 into version 3: -1 is no order"
        )
    );
    assert_eq!(row.message.version, Some(2));
    // The next release takes negative numbers.
    let next = world.consumer().on(third);
    let next = next.upcast::<PlacedV3, _, _>(2, |mut body: Value| {
        body["currency"] = json!("EUR");
        body
    });
    let running = Running::start(&world.broker, "billing", next).await;
    assert!(parked.retry(row.id).await.unwrap());
    eventually("it is handled", || async {
        world.database.effects("b").await == [-1] && world.database.parked().await.is_empty()
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn versions_have_handlers_of_their_own_and_batches_do_not_mix_them() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let batch = move |mut ctx: BatchContext, events: Vec<Received<PlacedV3>>| {
        let seen = seen.clone();
        async move {
            for received in events {
                seen.add(format!("third: {:?}", received.message().version.unwrap()));
                sqlx::query("INSERT INTO effect (n, customer) VALUES ($1, $2)")
                    .bind(received.event.number)
                    .bind(received.event.customer)
                    .execute(ctx.connection())
                    .await?;
            }
            Ok::<_, HandlerError>(())
        }
    };
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            seen.add("first");
            insert_effect(&mut ctx, &event).await?;
            Ok::<_, HandlerError>(())
        }
    };
    let builder = || {
        let builder = world.consumer().workers(1).on_version(1, handler.clone());
        let builder = builder.upcast::<PlacedV3, _, _>(2, |old: PlacedV2| PlacedV3 {
            number: old.number,
            customer: old.customer,
            currency: "EUR".to_owned(),
        });
        builder.on_many(batch.clone())
    };
    let declared = Running::start(&world.broker, "billing", builder()).await;
    declared.stop().await;
    for n in 0..30 {
        publish(&world, 1 + (n % 3) as u32, "a", n).await;
    }
    let running = Running::start(&world.broker, "billing", builder()).await;
    let expected: Vec<i64> = (0..30).collect();
    eventually("all are handled in their order", || async {
        world.database.effects("a").await == expected
    })
    .await;
    running.stop().await;
    for line in ["first", "third: 2", "third: 3"] {
        assert!(log.count(line) >= 10, "{line}: {:?}", log.lines());
    }
    assert_eq!(log.count("third: 1"), 0);
}

/// A version that is none would let a body be read as one of another version.
#[tokio::test]
async fn a_version_that_is_no_number_is_parked_with_its_reason() {
    let world = World::new().await;
    let running = Running::start(&world.broker, "billing", old(&world)).await;
    let mut headers = lapin::types::FieldTable::default();
    headers.insert(
        "cloudEvents_eventversion".into(),
        lapin::types::AMQPValue::LongString("2.0".into()),
    );
    let named = properties(Uuid::now_v7(), None, "orders.placed").with_headers(headers);
    let body = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    world.broker.publish_raw(named, &body).await;
    eventually("it is dead", || async {
        world.database.parked().await == ["undecodable/dead/0/f"]
    })
    .await;
    running.stop().await;
    let errors = world.database.texts("SELECT error FROM inbox.parked").await;
    let problem = "header \"cloudEvents_eventversion\" is no version";
    assert!(errors[0].contains(problem), "{errors:?}");
}
