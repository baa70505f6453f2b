//! Which events have one meaning: the texts of keys, types, versions and consumers.

use inbox::{Context, HandlerError, Remember};
use postroom_testkit::eventually;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{KEYS, consumer, effects, keep, order, recorded};
use crate::world::{Placed, Running, World, insert_effect, properties};

#[tokio::test]
async fn events_without_a_key_are_told_apart_by_their_ids() {
    let world = World::new().await;
    let key = |placed: &Placed| match placed.customer.as_str() {
        "none" => None,
        "empty" => Some(String::new()),
        "long" => Some("x".repeat(10_000) + &placed.n.to_string()),
        "nul" => Some(format!("\0{}", placed.n)),
        _ => Some("one".to_owned()),
    };
    let builder = world
        .consumer()
        .on(keep)
        .idempotency_key(Remember::Forever, key);
    let running = Running::start(&world.broker, "billing", builder).await;
    for customer in ["none", "empty", "long", "nul", "one"] {
        for n in [1, 1, 2] {
            world.broker.publish(&Placed::new(customer, n)).await;
        }
    }
    recorded(&world, 15).await;
    running.stop().await;
    for (customer, expected) in [
        ("none", &[1, 1, 2][..]),
        ("empty", &[1, 1, 2]),
        ("long", &[1, 2]),
        ("nul", &[1, 2]),
        ("one", &[1]),
    ] {
        let effects = world.database.effects(customer).await;
        assert_eq!(effects, expected, "{customer}");
    }
    let hashed = "SELECT count(*) FROM inbox.idempotency_key WHERE key ~ '^sha256:[0-9a-f]{64}$'";
    assert_eq!(world.database.count(hashed).await, 4);
}

#[derive(Debug, Serialize, Deserialize)]
struct Paid {
    n: i64,
}

impl outbox::Event for Paid {
    const TOPIC: &'static str = "orders.paid";

    fn key(&self) -> Option<String> {
        None
    }
}

/// One text is a key of each type and of each consumer.
#[tokio::test]
async fn g5_a_key_belongs_to_its_consumer_and_type() {
    async fn pay(mut ctx: Context, paid: Paid) -> Result<(), HandlerError> {
        Ok(insert_effect(&mut ctx, &Placed::new("paid", paid.n)).await?)
    }
    let world = World::new().await;
    let builder = |name: &str| {
        inbox::Consumer::builder(name)
            .database(world.database.pool(12))
            .amqp_url(world.broker.url())
            .on(keep)
            .idempotency_key(Remember::Forever, order)
            .on(pay)
            .idempotency_key(Remember::Forever, |paid: &Paid| format!("order {}", paid.n))
    };
    let first = Running::start(&world.broker, "first", builder("first")).await;
    let second = Running::start(&world.broker, "second", builder("second")).await;
    for _ in 0..3 {
        world.broker.publish(&Placed::new("placed", 1)).await;
        let paid = properties(Uuid::now_v7(), None, "orders.paid");
        world.broker.publish_raw(paid, br#"{"n": 1}"#).await;
    }
    eventually("all are recorded", || async {
        world.database.count(super::RECORDED_IDS).await == 12
    })
    .await;
    first.stop().await;
    second.stop().await;
    let expected = ["paid 1", "paid 1", "placed 1", "placed 1"];
    assert_eq!(effects(&world).await, expected);
}

/// The event in its second version, with `number` in place of `n`.
#[derive(Debug, Serialize, Deserialize)]
struct PlacedV2 {
    number: i64,
    customer: String,
}

impl outbox::Event for PlacedV2 {
    const TOPIC: &'static str = "orders.placed";
    const VERSION: u32 = 2;

    fn key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

async fn keep_second(mut ctx: Context, event: PlacedV2) -> Result<(), HandlerError> {
    let effect = Placed::new(&event.customer, event.number);
    Ok(insert_effect(&mut ctx, &effect).await?)
}

async fn publish(world: &World, version: u32, customer: &str, body: Value) {
    let mut properties = properties(Uuid::now_v7(), Some(customer), "orders.placed");
    let mut headers = properties.headers().clone().unwrap();
    headers.insert("cloudEvents_eventversion".into(), i64::from(version).into());
    properties = properties.with_headers(headers);
    let body = serde_json::to_vec(&body).unwrap();
    world.broker.publish_raw(properties, &body).await;
}

/// An order of each version, by another customer.
async fn publish_each_version(world: &World) {
    publish(world, 1, "a", json!({"n": 1, "customer": "a"})).await;
    publish(world, 2, "b", json!({"number": 1, "customer": "b"})).await;
    publish(world, 1, "c", json!({"n": 1, "customer": "c"})).await;
}

#[tokio::test]
async fn g5_a_key_is_made_of_the_newest_version() {
    let world = World::new().await;
    let key = |placed: &PlacedV2| format!("order {}", placed.number);
    let builder = world
        .consumer()
        .on(keep_second)
        .upcast::<PlacedV2, _, _>(1, |old: Placed| PlacedV2 {
            number: old.n,
            customer: old.customer,
        })
        .idempotency_key(Remember::Forever, key);
    let running = Running::start(&world.broker, "billing", builder).await;
    publish_each_version(&world).await;
    recorded(&world, 3).await;
    running.stop().await;
    assert_eq!(effects(&world).await.len(), 1);
    assert!(world.database.parked().await.is_empty());
}

#[tokio::test]
async fn g5_handlers_of_two_versions_share_their_keys() {
    let world = World::new().await;
    let key = |placed: &PlacedV2| format!("order {}", placed.number);
    let builder = consumer(&world)
        .on(keep)
        .on(keep_second)
        .idempotency_key(Remember::Forever, key);
    let running = Running::start(&world.broker, "billing", builder).await;
    publish_each_version(&world).await;
    recorded(&world, 3).await;
    running.stop().await;
    assert_eq!(effects(&world).await.len(), 1);
    assert!(world.database.parked().await.is_empty());
    assert_eq!(world.database.texts(KEYS).await, ["orders.placed order 1"]);
}
