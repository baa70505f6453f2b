//! Messages of one key are handled one after another, messages of different keys in parallel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use inbox::{Context, HandlerError};
use tokio::sync::Barrier;

use postroom_testkit::eventually;

use crate::world::{Log, Placed, Running, World, insert_effect};

#[tokio::test]
async fn messages_of_a_key_are_handled_in_order() {
    let world = World::new().await;
    let running_now = Arc::new(AtomicUsize::new(0));
    let overlapped = Arc::new(AtomicBool::new(false));
    let (now, seen) = (Arc::clone(&running_now), Arc::clone(&overlapped));
    let handler = move |mut ctx: Context, event: Placed| {
        let (now, seen) = (Arc::clone(&now), Arc::clone(&seen));
        async move {
            if now.fetch_add(1, Ordering::SeqCst) > 0 {
                seen.store(true, Ordering::SeqCst);
            }
            insert_effect(&mut ctx, &event).await?;
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world.consumer().on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 0..200 {
        world.broker.publish(&Placed::new("a", n)).await;
    }
    eventually("all are handled", || async {
        world.database.effects("a").await.len() == 200
    })
    .await;
    running.stop().await;
    let expected: Vec<i64> = (0..200).collect();
    assert_eq!(world.database.effects("a").await, expected);
    assert!(!overlapped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn different_keys_are_handled_beside_each_other() {
    let world = World::new().await;
    // Passed only if four handlers run at the same time.
    let barrier = Arc::new(Barrier::new(4));
    let handler = move |mut ctx: Context, event: Placed| {
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
            insert_effect(&mut ctx, &event).await?;
            Ok::<_, HandlerError>(())
        }
    };
    let builder = world.consumer().workers(4).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for customer in ["a", "b", "c", "d"] {
        world.broker.publish(&Placed::new(customer, 1)).await;
    }
    eventually("all are handled", || async {
        world.database.count("SELECT count(*) FROM effect").await == 4
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_failing_message_stops_its_key_alone_and_its_key_drains_in_order() {
    let world = World::new().await;
    let broken = Arc::new(AtomicBool::new(true));
    let shared = Arc::clone(&broken);
    let handler = move |mut ctx: Context, event: Placed| {
        let broken = Arc::clone(&shared);
        async move {
            if event.customer == "a" && event.n == 3 && broken.load(Ordering::SeqCst) {
                return Err(HandlerError::retry("the price list is away"));
            }
            insert_effect(&mut ctx, &event).await?;
            Ok(())
        }
    };
    let builder = world
        .consumer()
        .max_attempts(1_000_000)
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    for n in 1..=10 {
        world.broker.publish(&Placed::new("a", n)).await;
        world.broker.publish(&Placed::new("b", n)).await;
    }
    let expected: Vec<i64> = (1..=10).collect();
    eventually(
        "the rest of the key is parked behind, and b is through",
        || async {
            world.database.effects("b").await == expected
                && world.database.parked().await.len() == 8
        },
    )
    .await;
    assert_eq!(world.database.effects("a").await, [1, 2]);
    let parked = world
        .database
        .texts("SELECT reason || coalesce(error, '') FROM inbox.parked ORDER BY id");
    let parked = parked.await;
    assert!(parked[0].contains("the price list is away"), "{parked:?}");
    assert!(parked[1..].iter().all(|row| row == "behind"), "{parked:?}");
    broken.store(false, Ordering::SeqCst);
    eventually("the key has drained", || async {
        world.database.effects("a").await.len() == 10 && world.database.parked().await.is_empty()
    })
    .await;
    world.broker.publish(&Placed::new("a", 11)).await;
    eventually("the key is free", || async {
        world.database.effects("a").await.len() == 11
    })
    .await;
    running.stop().await;
    let expected: Vec<i64> = (1..=11).collect();
    assert_eq!(world.database.effects("a").await, expected);
}

#[tokio::test]
async fn a_deferred_message_waits_without_failing_and_without_its_key() {
    let world = World::new().await;
    // The first message needs what the second one brings.
    let handler = |mut ctx: Context, event: Placed| async move {
        if event.n == 1 {
            let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM effect WHERE n = 2)")
                .fetch_one(ctx.connection())
                .await?;
            if !there {
                let wait = Duration::from_millis(50);
                return Err(HandlerError::defer(wait, "its customer has not arrived"));
            }
        }
        insert_effect(&mut ctx, &event).await?;
        Ok(())
    };
    let builder = world.consumer().max_attempts(1).on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is put off, again and again, without a failure", || async {
        let tried = "SELECT count(*) FROM inbox.parked WHERE clock_timestamp() > parked_at + interval '300 ms'";
        world.database.count(tried).await == 1
    })
    .await;
    assert!(matches!(
        world.database.parked().await[0].as_str(),
        // While an attempt is under way it is counted.
        "deferred/waiting/0/f" | "deferred/waiting/1/f"
    ));
    world.broker.publish(&Placed::new("a", 2)).await;
    eventually("both are handled", || async {
        world.database.effects("a").await == [2, 1]
    })
    .await;
    running.stop().await;
    assert!(world.database.parked().await.is_empty());
}

#[tokio::test]
async fn a_message_put_off_for_too_long_is_dead() {
    let world = World::new().await;
    let handler = |_: Context, _: Placed| async {
        Err::<(), _>(HandlerError::defer(Duration::ZERO, "never"))
    };
    let builder = world
        .consumer()
        .max_deferral(Duration::from_millis(200))
        .on::<Placed, _, _>(handler);
    let running = Running::start(&world.broker, "billing", builder).await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it is dead", || async {
        world.database.parked().await == ["deferred/dead/0/f"]
    })
    .await;
    running.stop().await;
}

/// An operator who tries it again gives it as long as it had.
#[tokio::test]
async fn a_message_put_off_for_too_long_may_be_put_off_again_after_a_retry() {
    let world = World::new().await;
    let log = Log::default();
    let seen = log.clone();
    let handler = move |mut ctx: Context, event: Placed| {
        seen.add("run");
        let (revived, again) = (seen.count("revived"), seen.lines());
        let since = again.iter().rev().take_while(|line| *line == "run").count();
        async move {
            if revived == 0 || since < 3 {
                return Err(HandlerError::defer(Duration::ZERO, "not yet"));
            }
            Ok(insert_effect(&mut ctx, &event).await?)
        }
    };
    let builder = world.consumer().max_deferral(Duration::from_secs(3));
    let running = Running::start(
        &world.broker,
        "billing",
        builder.on::<Placed, _, _>(handler),
    )
    .await;
    world.broker.publish(&Placed::new("a", 1)).await;
    eventually("it was dead for as long", || async {
        let dead = "SELECT count(*) FROM inbox.parked
                    WHERE state = 'dead' AND parked_at < clock_timestamp() - interval '3 seconds'";
        world.database.count(dead).await == 1
    })
    .await;
    log.add("revived");
    let retry = "SELECT inbox.retry(id) FROM inbox.parked";
    world.database.execute(retry).await;
    eventually("it is handled", || async {
        world.database.effects("a").await == [1]
    })
    .await;
    running.stop().await;
}
