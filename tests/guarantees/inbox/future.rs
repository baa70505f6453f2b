//! Messages from the future, as a publisher sends them whose clock is wrong, and their copies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use inbox::{Context, HandlerError};
use lapin::BasicProperties;
use postroom_testkit::eventually;
use uuid::Uuid;

use crate::world::{Log, Placed, Running, World, insert_effect, properties};

const EVERYTHING: &str = "SELECT inbox.retry(id) FROM inbox.parked";

/// The reason, the state, and the hours until the next attempt.
const WAITING: &str = "
SELECT concat_ws('/', reason, state, floor(extract(epoch FROM due_at - now()) / 3600)) FROM inbox.parked";

/// Properties of a message whose time comes in 30 hours: what is allowed is 24 by default.
fn ahead() -> BasicProperties {
    let made_at = chrono::Utc::now() + chrono::TimeDelta::hours(30);
    let seconds = made_at.timestamp() as u64;
    let id = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
    properties(id, Some("a"), "orders.placed")
}

/// Publishes one of the copies, which `n` tells apart.
async fn publish(world: &World, copied: &BasicProperties, n: i64) {
    let body = serde_json::to_vec(&Placed::new("a", n)).unwrap();
    world.broker.publish_raw(copied.clone(), &body).await;
}

async fn is_dead(world: &World) {
    eventually("it is dead", || async {
        world.database.parked().await == ["future/dead/1/f"]
    })
    .await;
}

async fn is_gone(world: &World) {
    eventually("nothing is parked", || async {
        world.database.parked().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn g5_a_message_from_the_future_is_no_second_one_when_its_time_has_come() {
    async fn effect(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
        Ok(insert_effect(&mut ctx, &event).await?)
    }
    let world = World::new().await;
    let start = |hours| {
        let skew = Duration::from_hours(hours);
        let builder = world.consumer().future_skew(skew);
        Running::start(&world.broker, "billing", builder.on::<Placed, _, _>(effect))
    };
    let copied = ahead();
    let running = start(24).await;
    publish(&world, &copied, 1).await;
    is_dead(&world).await;
    // The message may not run yet: its copies would not find the record. It waits until it may.
    world.database.execute(EVERYTHING).await;
    eventually("it waits for its time", || async {
        world.database.texts(WAITING).await == ["future/waiting/5"]
    })
    .await;
    running.stop().await;
    // In place of the hours that would have to pass.
    let running = start(40).await;
    publish(&world, &copied, 2).await;
    eventually("its copy is handled", || async {
        world.database.effects("a").await == [2]
    })
    .await;
    world.database.execute(EVERYTHING).await;
    is_gone(&world).await;
    running.stop().await;
    assert_eq!(world.database.effects("a").await, [2]);
}

#[tokio::test]
async fn g5_a_message_from_the_future_that_fails_is_no_second_one() {
    let world = World::new().await;
    let log = Log::default();
    let failing = Arc::new(AtomicBool::new(true));
    let start = |hours| {
        let (log, failing) = (log.clone(), Arc::clone(&failing));
        let handler = move |mut ctx: Context, event: Placed| {
            log.add(event.n.to_string());
            let fails = event.n == 1 && failing.load(SeqCst);
            async move {
                if fails {
                    return Err(HandlerError::retry("for now"));
                }
                Ok(insert_effect(&mut ctx, &event).await?)
            }
        };
        let builder = world.consumer().max_attempts(1_000);
        let builder = builder.future_skew(Duration::from_hours(hours));
        Running::start(
            &world.broker,
            "billing",
            builder.on::<Placed, _, _>(handler),
        )
    };
    let copied = ahead();
    let running = start(24).await;
    publish(&world, &copied, 1).await;
    is_dead(&world).await;
    running.stop().await;
    let running = start(40).await;
    world.database.execute(EVERYTHING).await;
    eventually("it has failed", || async { log.count("1") > 1 }).await;
    publish(&world, &copied, 2).await;
    eventually("its copy is handled", || async {
        world.database.effects("a").await == [2]
    })
    .await;
    failing.store(false, SeqCst);
    is_gone(&world).await;
    running.stop().await;
    assert_eq!(world.database.effects("a").await, [2]);
}
