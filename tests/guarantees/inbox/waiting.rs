//! Requests that wait until a consumer has handled what they wrote.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use inbox::{ConsumerBuilder, Context, HandlerError, NotHandled, WaitError, Waiter};
use outbox::{ConsistencyToken, MessageId, Topic};
use postroom_testkit::{DEADLINE, eventually};

use crate::world::{Placed, Proxy, Running, World, insert_effect, properties, uuid_v4};

const SHORT: Duration = Duration::from_millis(50);

/// A consumer whose handler fails while the flag is set, and rejects the number 13.
fn consumer(world: &World, fails: &Arc<AtomicBool>) -> ConsumerBuilder {
    let fails = Arc::clone(fails);
    let handler = move |mut ctx: Context, event: Placed| {
        let fails = fails.load(Ordering::SeqCst);
        async move {
            match event.n {
                13 => Err(HandlerError::reject("13")),
                _ if fails => Err(HandlerError::retry("not now")),
                _ => Ok(insert_effect(&mut ctx, &event).await?),
            }
        }
    };
    world
        .consumer()
        .attempts_in_place(1)
        .max_attempts(1_000)
        .on::<Placed, _, _>(handler)
}

fn waiter(world: &World) -> Waiter {
    Waiter::new(world.database.pool(1), "billing", ["orders.*"])
}

fn state(ended: Result<(), WaitError>) -> NotHandled {
    match ended {
        Err(WaitError::TimedOut { state, .. }) => state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wait_ends_when_the_message_is_handled_and_not_when_it_is_parked() {
    let world = World::new().await;
    let fails = Arc::new(AtomicBool::new(true));
    let consumer = consumer(&world, &fails).build().unwrap();
    let (status, waiter) = (consumer.status(), consumer.waiter());
    let id = world.broker.publish(&Placed::new("a", 1)).await;
    let token = ConsistencyToken::of::<Placed>(MessageId::from(id));
    assert_eq!(
        state(waiter.wait(&token, SHORT).await),
        NotHandled::NotArrived
    );
    let running = tokio::spawn(consumer.run(std::future::pending()));
    status.ready().await;
    // The queue did not exist when the first message was published.
    let id = world.broker.publish(&Placed::new("a", 1)).await;
    let token = ConsistencyToken::of::<Placed>(MessageId::from(id));
    let parked = NotHandled::Parked("failed".to_owned());
    eventually("it is parked", || async {
        state(waiter.wait(&token, SHORT).await) == parked
    })
    .await;
    fails.store(false, Ordering::SeqCst);
    waiter.wait(&token, DEADLINE).await.unwrap();
    assert_eq!(world.database.effects("a").await, [1]);
    // Another topic never reaches this consumer.
    let mut token = ConsistencyToken::new();
    let other = Topic::new("parcels.sent").unwrap();
    token.add(other, MessageId::new()).unwrap();
    waiter.wait(&token, Duration::ZERO).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn a_dead_message_ends_the_wait_at_once_with_its_reason() {
    let world = World::new().await;
    let fails = Arc::new(AtomicBool::new(false));
    let running = Running::start(&world.broker, "billing", consumer(&world, &fails)).await;
    let waiter = waiter(&world);
    let id = world.broker.publish(&Placed::new("a", 13)).await;
    let ended = waiter.wait_for(id, DEADLINE).await;
    let Err(WaitError::Dead { reason, .. }) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(reason, "rejected");
    world
        .database
        .execute("SELECT inbox.discard(id) FROM inbox.parked")
        .await;
    waiter.wait_for(id, DEADLINE).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn an_id_that_is_no_uuid_version_7_is_found_by_its_source() {
    let world = World::new().await;
    let fails = Arc::new(AtomicBool::new(false));
    let running = Running::start(&world.broker, "billing", consumer(&world, &fails)).await;
    let id = uuid_v4();
    let properties = properties(id, Some("a"), "orders.placed").with_app_id("orders".into());
    let body = serde_json::to_vec(&Placed::new("a", 1)).unwrap();
    world.broker.publish_raw(properties, &body).await;
    let waiter = waiter(&world);
    let sourced = waiter.clone().source("orders");
    sourced.wait_for(id, DEADLINE).await.unwrap();
    assert_eq!(
        state(waiter.wait_for(id, SHORT).await),
        NotHandled::NotArrived
    );
    running.stop().await;
}

#[tokio::test]
async fn a_thousand_waits_need_one_connection() {
    let world = World::new().await;
    let fails = Arc::new(AtomicBool::new(false));
    let waiter = waiter(&world);
    let ids: Vec<MessageId> = (0..1_000).map(|_| MessageId::new()).collect();
    let waits = ids.iter().map(|id| waiter.wait_for(*id, DEADLINE));
    let waits = join_all(waits);
    let handles = async {
        let running = Running::start(&world.broker, "billing", consumer(&world, &fails)).await;
        for (n, id) in ids.iter().enumerate() {
            let event = Placed::new(&format!("k{}", n % 10), 1);
            world.broker.publish_as(id.as_uuid(), &event).await;
        }
        running
    };
    let (ended, running) = tokio::join!(waits, handles);
    for ended in ended {
        ended.unwrap();
    }
    running.stop().await;
}

#[tokio::test]
async fn a_wait_survives_a_database_that_is_away() {
    let world = World::new().await;
    let fails = Arc::new(AtomicBool::new(false));
    let wire = Proxy::new(world.database.address(), false).await;
    let pool = world.database.pool_through(wire.port, 1);
    let waiter = Waiter::new(pool, "billing", ["#"]);
    let running = Running::start(&world.broker, "billing", consumer(&world, &fails)).await;
    let id = world.broker.publish(&Placed::new("a", 1)).await;
    let long = Duration::from_secs(6);
    let unknown = state(waiter.wait_for(id, long).await);
    assert!(matches!(unknown, NotHandled::Unknown(_)), "{unknown}");
    let mend = async {
        wire.mend();
    };
    let (ended, ()) = tokio::join!(waiter.wait_for(id, DEADLINE), mend);
    ended.unwrap();
    running.stop().await;
}
