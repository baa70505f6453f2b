//! Events of one meaning, of which one is parked.

use std::time::Duration;

use inbox::{ConsumerBuilder, Context, HandlerError};
use postroom_testkit::eventually;

use super::{consumer, effects, recorded};
use crate::world::{Log, Placed, Running, World, insert_effect};

/// A handler that does not handle the first customer's order, and logs the others.
fn refusing(world: &World, error: fn() -> HandlerError, log: &Log) -> ConsumerBuilder {
    let log = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let log = log.clone();
        async move {
            log.add(format!("{} {}", event.customer, event.n));
            insert_effect(&mut ctx, &event).await?;
            if event.customer == "first" && event.n == 1 {
                return Err(error());
            }
            Ok(())
        }
    };
    // Time for the other message, before the parked one is tried again.
    consumer(world)
        .attempts_in_place(1)
        .max_attempts(1_000)
        .backoff_parked(Duration::from_hours(1), Duration::from_hours(1))
        .on::<Placed, _, _>(handler)
}

/// The first message has recorded no key, so the second is handled; when the first is tried again, it is a duplicate.
async fn another_is_handled_first(error: fn() -> HandlerError, parked: &str) {
    let world = World::new().await;
    let log = Log::default();
    let builder = refusing(&world, error, &log);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("first", 1)).await;
    eventually("it is parked", || async {
        world.database.parked().await == [parked]
    })
    .await;
    world.broker.publish(&Placed::new("first", 2)).await;
    world.broker.publish(&Placed::new("second", 1)).await;
    recorded(&world, 3).await;
    world
        .database
        .execute("SELECT inbox.retry(id) FROM inbox.parked ORDER BY id")
        .await;
    eventually("nothing is parked", || async {
        world.database.parked().await.is_empty()
    })
    .await;
    eventually("the next of its ordering key has gone on", || async {
        effects(&world).await == ["second 1", "first 2"]
    })
    .await;
    running.stop().await;
    assert_eq!(log.count("first 1"), 1, "{:?}", log.lines());
}

#[tokio::test]
async fn g5_a_message_that_failed_is_a_duplicate_once_another_with_its_key_was_handled() {
    another_is_handled_first(|| HandlerError::retry("broken"), "failed/waiting/1/t").await;
}

#[tokio::test]
async fn g5_a_dead_message_is_a_duplicate_once_another_with_its_key_was_handled() {
    another_is_handled_first(|| HandlerError::reject("never"), "rejected/dead/1/t").await;
}

#[tokio::test]
async fn g5_a_deferred_message_is_a_duplicate_once_another_with_its_key_was_handled() {
    let hour = || HandlerError::defer(Duration::from_hours(1), "not yet");
    another_is_handled_first(hour, "deferred/waiting/0/f").await;
}

/// Both are tried again by workers of their own at the same time.
#[tokio::test]
async fn g5_parked_messages_of_one_meaning_have_one_effect() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        let seen = seen.clone();
        async move {
            insert_effect(&mut ctx, &event).await?;
            if seen.count("repaired") == 0 {
                return Err(HandlerError::retry("broken"));
            }
            Ok(())
        }
    };
    let builder = consumer(&world)
        .attempts_in_place(1)
        .max_attempts(1_000)
        .parked_workers(3)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..5 {
        for customer in ["a", "b", "c"] {
            let own = format!("{customer}{n}");
            world.broker.publish(&Placed::new(&own, n)).await;
        }
    }
    eventually("all are parked", || async {
        world.database.parked().await.len() == 15
    })
    .await;
    log.add("repaired");
    eventually("nothing is parked", || async {
        world.database.parked().await.is_empty()
    })
    .await;
    running.stop().await;
    let effects = "SELECT count(*) FROM effect";
    assert_eq!(world.database.count(effects).await, 5);
    let distinct = "SELECT count(DISTINCT n) FROM effect";
    assert_eq!(world.database.count(distinct).await, 5);
}
