//! Ids that look like a UUID version 7 and are none, and those whose time is outside the dedup window.

use inbox::{Context, HandlerError, Parked};
use postroom_testkit::eventually;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::world::{Placed, Running, World, insert_effect, properties};

async fn keep(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    Ok(insert_effect(&mut ctx, &event).await?)
}

async fn start(world: &World) -> Running {
    let builder = world.consumer().on::<Placed, _, _>(keep);
    Running::start(&world.broker, "billing", builder).await
}

/// A UUID version 7 of a year.
fn of_year(year: u64) -> Uuid {
    let seconds = (year - 1970) * 31_556_952;
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0))
}

/// Publishes a message, which `n` tells from its copies.
async fn publish(world: &World, id: Uuid, n: i64) {
    let body = serde_json::to_vec(&Placed::new("a", n)).unwrap();
    let properties = properties(id, None, "orders.placed");
    world.broker.publish_raw(properties, &body).await;
}

#[tokio::test]
async fn g5_an_id_that_only_looks_like_a_uuid_version_7_is_handled_once() {
    let world = World::new().await;
    let running = start(&world).await;
    let ids = [
        // A counter, a hash, a clock that was never set.
        Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001),
        Uuid::from_u128(0xd41d_8cd9_8f00_7204_a980_0998_ecf8_427e),
        of_year(1972),
        of_year(2150),
    ];
    for (n, id) in (1..).zip(ids) {
        publish(&world, id, n).await;
        publish(&world, id, n).await;
    }
    publish(&world, Uuid::now_v7(), 9).await;
    eventually("all are handled", async || {
        let mut effects = world.database.effects("a").await;
        effects.sort_unstable();
        effects == [1, 2, 3, 4, 9]
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
    assert_eq!(world.database.effects("a").await.len(), 5);
    assert!(world.database.parked().await.is_empty());
    let others = "SELECT count(*) FROM inbox.processed_other";
    assert_eq!(world.database.count(others).await, 4);
}

/// An operator knows that these are no times.
#[tokio::test]
async fn g5_a_dead_message_whose_time_is_far_off_is_handled_once_when_an_operator_retries_it() {
    let world = World::new().await;
    let running = start(&world).await;
    let ids = [of_year(2022), of_year(2050)];
    for (n, id) in (1..).zip(ids) {
        publish(&world, id, n).await;
    }
    eventually("they are dead", async || {
        let mut parked = world.database.parked().await;
        parked.sort();
        parked == ["future/dead/1/f", "stale/dead/1/f"]
    })
    .await;
    let errors = "SELECT error FROM inbox.parked WHERE error LIKE '%message_id%inbox.retry%'";
    assert_eq!(world.database.texts(errors).await.len(), 2);
    let parked = Parked::new(world.database.pool(2), "billing");
    for row in parked.list(0, 10).await.unwrap() {
        assert!(parked.retry(row.id).await.unwrap());
    }
    eventually("they are handled", async || {
        world.database.parked().await.is_empty()
    })
    .await;
    for id in ids {
        publish(&world, id, 3).await;
    }
    publish(&world, Uuid::now_v7(), 9).await;
    eventually("the copies were delivered", async || {
        world.database.effects("a").await.contains(&9)
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
    let mut effects = world.database.effects("a").await;
    effects.sort_unstable();
    assert_eq!(effects, [1, 2, 9]);
}

/// Releases until 0.1 took every UUID with the version 7 for one.
#[tokio::test]
async fn g5_what_an_earlier_release_recorded_of_an_id_is_found() {
    let world = World::new().await;
    let handled = Uuid::now_v7();
    let dead = Uuid::from_u128(0xd41d_8cd9_8f00_7204_a980_0998_ecf8_427e);
    let day = i64::try_from(handled.as_u128() >> 80).unwrap() / 86_400_000;
    let ring =
        "INSERT INTO inbox.processed (consumer, message_id, slot) VALUES ('billing', $1, $2)";
    let ring = sqlx::query(ring).bind(handled).bind((day % 64) as i16);
    ring.execute(&world.database.admin).await.unwrap();
    let mut hash = Sha256::new();
    hash.update(6_u64.to_be_bytes());
    hash.update(format!("orders{dead}"));
    let other = "WITH other AS (INSERT INTO inbox.processed_other (consumer, id_hash) VALUES ('billing', $1))
        INSERT INTO inbox.parked (consumer, state, reason, holds_key, attempts, message_id, source, topic, headers, payload)
        VALUES ('billing', 'dead', 'future', false, 1, $2, 'orders', 'orders.placed', '{}', $3)";
    sqlx::query(other)
        .bind(&hash.finalize()[..])
        .bind(dead.to_string())
        .bind(serde_json::to_vec(&Placed::new("a", 1)).unwrap())
        .execute(&world.database.admin)
        .await
        .unwrap();
    let running = start(&world).await;
    publish(&world, handled, 2).await;
    publish(&world, dead, 2).await;
    publish(&world, Uuid::now_v7(), 9).await;
    eventually("the copies were delivered", async || {
        world.database.effects("a").await == [9]
    })
    .await;
    let retry = "SELECT inbox.retry(id) FROM inbox.parked";
    world.database.execute(retry).await;
    eventually("the dead one is handled", async || {
        world.database.parked().await.is_empty()
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
    assert_eq!(world.database.effects("a").await, [9, 1]);
}
