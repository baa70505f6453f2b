//! Messages that no handler takes from the queue: parked with their reason, or duplicates.

use std::time::Duration;

use inbox::{Context, HandlerError};
use lapin::options::BasicGetOptions;
use postroom_testkit::eventually;
use uuid::Uuid;

use crate::world::{Log, Placed, Running, World, insert_effect, properties, uuid_v4};

async fn effect(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

/// A UUID version 7 of so many days ago.
fn id_of(days_ago: i64) -> Uuid {
    let time = chrono::Utc::now() - chrono::TimeDelta::days(days_ago);
    let seconds = time.timestamp() as u64;
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0))
}

#[tokio::test]
async fn messages_that_no_handler_can_take_are_parked_with_their_reason() {
    let world = World::new().await;
    let builder = world.consumer().max_unhandled(Duration::ZERO);
    let builder = builder.on::<Placed, _, _>(effect);
    let running = Running::start(&world.broker, "billing", builder).await;
    let good = serde_json::to_vec(&Placed::new("x", 1)).unwrap();
    let known = "orders.placed";
    let fresh = Uuid::now_v7;
    let publish = async |properties, body: &[u8]| world.broker.publish_raw(properties, body).await;
    publish(properties(fresh(), Some("a"), known), b"{").await;
    publish(properties(fresh(), Some("b"), "orders.unknown"), &good).await;
    publish(properties(id_of(31), Some("c"), known), &good).await;
    publish(properties(id_of(-2), Some("d"), known), &good).await;
    publish(
        lapin::BasicProperties::default().with_type(known.into()),
        &good,
    )
    .await;
    // A second time: duplicates of what was parked, but for the one without an id.
    let stale = properties(id_of(40), Some("e"), known);
    publish(stale.clone(), &good).await;
    publish(stale, &good).await;
    let mut expected = vec![
        "future/dead/1/f",
        "no_id/dead/0/f",
        "stale/dead/1/f",
        "stale/dead/1/f",
        "undecodable/dead/1/t",
        "unhandled/dead/1/f",
    ];
    expected.sort_unstable();
    eventually("all are parked, once", || async {
        let mut parked = world.database.parked().await;
        parked.sort_unstable();
        parked == expected && world.broker.queue("billing").await == Some((0, 1))
    })
    .await;
    // Their keys go on, but for the one whose message could have been handled in order.
    for customer in ["a", "b", "c", "d", "e"] {
        world.broker.publish(&Placed::new(customer, 2)).await;
    }
    eventually("four are handled, one waits", || async {
        world.database.count("SELECT count(*) FROM effect").await == 4
            && world.database.parked().await.len() == 7
    })
    .await;
    running.stop().await;
    assert!(world.database.effects("a").await.is_empty());
    world.broker.settled("billing").await;
}

#[tokio::test]
async fn ids_of_other_kinds_are_remembered_too() {
    let world = World::new().await;
    let builder = world.consumer().on::<Placed, _, _>(effect);
    let running = Running::start(&world.broker, "billing", builder).await;
    let event = Placed::new("a", 1);
    let id = uuid_v4();
    for _ in 0..3 {
        world.broker.publish_as(id, &event).await;
    }
    let body = serde_json::to_vec(&event).unwrap();
    for source in ["orders", "orders", "returns"] {
        let named = properties(id, Some("a"), "orders.placed")
            .with_message_id("order-7".into())
            .with_app_id(source.into())
            .with_headers(lapin::types::FieldTable::default());
        world.broker.publish_raw(named, &body).await;
    }
    eventually("three are handled", || async {
        world.database.effects("a").await.len() == 3
            && world.broker.queue("billing").await == Some((0, 1))
    })
    .await;
    running.stop().await;
    let hashed = "SELECT count(*) FROM inbox.processed_other";
    assert_eq!(world.database.count(hashed).await, 3);
    assert_eq!(world.database.effects("a").await.len(), 3);
}

#[tokio::test]
async fn a_message_that_came_too_often_is_run_outside_the_stream() {
    let world = World::new().await;
    let log = Log::default();
    let handler = {
        let log = log.clone();
        move |mut ctx: Context, event: Placed| {
            let log = log.clone();
            async move {
                log.add(format!("{} attempt {}", event.n, ctx.attempt()));
                insert_effect(&mut ctx, &event).await?;
                Ok::<_, HandlerError>(())
            }
        }
    };
    // A single active consumer's queue refuses `basic.get`.
    let builder = || {
        let builder = world.consumer().single_active_consumer(false);
        builder.on::<Placed, _, _>(handler.clone())
    };
    // Declares the queue.
    Running::start(&world.broker, "billing", builder())
        .await
        .stop()
        .await;
    world.broker.publish(&Placed::new("a", 1)).await;
    for _ in 0..3 {
        // A connection that ends with it in hand, as a process does that crashes.
        let (connection, channel) = world.broker.vhost.channel().await;
        eventually("it is there again", || async {
            let options = BasicGetOptions::default();
            let got = channel.basic_get("billing".into(), options).await;
            got.unwrap().is_some()
        })
        .await;
        connection.close(200, "done".into()).await.unwrap();
    }
    let running = Running::start(&world.broker, "billing", builder()).await;
    world.broker.publish(&Placed::new("a", 2)).await;
    eventually("both are handled in order", || async {
        world.database.effects("a").await == [1, 2] && world.database.parked().await.is_empty()
    })
    .await;
    running.stop().await;
    // Three crashes, and the attempt that the worker counted before it ran.
    assert_eq!(log.lines()[0], "1 attempt 4");
}

#[tokio::test]
async fn a_parked_message_whose_handler_ends_the_process_is_dead_in_the_end() {
    let world = World::new().await;
    world
        .database
        .execute(
            "INSERT INTO inbox.parked (consumer, state, reason, holds_key, attempts, due_at, topic,
                                       key, type, message_id, headers, payload)
             VALUES ('billing', 'waiting', 'crashed', true, 10, clock_timestamp(), 'orders.placed',
                     'a', 'orders.placed', 'm-1', '{}', '{\"n\": 1, \"customer\": \"a\"}')",
        )
        .await;
    let builder = world.consumer().on::<Placed, _, _>(effect);
    let running = Running::start(&world.broker, "billing", builder).await;
    eventually("it is given up without another attempt", || async {
        world.database.parked().await == ["crashed/dead/10/t"]
    })
    .await;
    running.stop().await;
    assert!(world.database.effects("a").await.is_empty());
}

/// A client that forwards a message forwards its headers too: a count of deliveries elsewhere means nothing here.
#[tokio::test]
async fn a_count_of_deliveries_that_a_publisher_sends_is_not_believed() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |ctx: Context, _: Placed| {
        seen.add(format!("attempt {}", ctx.attempt()));
        async { Ok::<_, HandlerError>(()) }
    };
    let builder = world.consumer().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    let mut headers = lapin::types::FieldTable::default();
    headers.insert("x-delivery-count".into(), 12_i64.into());
    let forwarded = properties(Uuid::now_v7(), None, "orders.placed").with_headers(headers);
    let body = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    world.broker.publish_raw(forwarded, &body).await;
    eventually("it is handled", || async { !log.lines().is_empty() }).await;
    running.stop().await;
    assert_eq!(log.lines(), ["attempt 1"]);
    assert!(world.database.parked().await.is_empty());
}
