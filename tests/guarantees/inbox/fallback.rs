//! The handler of messages whose type no other handler takes.

use inbox::{Context, Delivery, HandlerError, extract::OrderingKey};
use postroom_testkit::eventually;
use uuid::Uuid;

use crate::world::{Log, Placed, Running, World, insert_effect, properties};

async fn placed(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

#[tokio::test]
async fn a_fallback_takes_what_no_other_handler_takes() {
    let world = World::new().await;
    let log = Log::default();
    let others = log.clone();
    let fallback = move |_: Context, OrderingKey(key): OrderingKey, other: Delivery| {
        let body = String::from_utf8_lossy(other.body()).into_owned();
        others.add(format!("{} {key} {body}", other.message().topic));
        async { Ok::<_, HandlerError>(()) }
    };
    let builder = || world.consumer().on::<Placed, _, _>(placed).bind("#");
    // Parked by a process without the fallback, which leaves the message to others for a while.
    let running = Running::start(&world.broker, "billing", builder()).await;
    let unknown = properties(Uuid::now_v7(), Some("a"), "orders.unknown");
    world.broker.publish_raw(unknown, b"first").await;
    eventually("it is parked", || async {
        let parked = world.database.parked().await;
        parked.len() == 1 && parked[0].starts_with("unhandled/waiting")
    })
    .await;
    running.stop().await;
    let running = Running::start(&world.broker, "billing", builder().fallback(fallback)).await;
    let unknown = properties(Uuid::now_v7(), Some("b"), "orders.unknown");
    world.broker.publish_raw(unknown, b"not JSON").await;
    world.broker.publish(&Placed::new("c", 1)).await;
    eventually("all are handled", || async {
        world.database.effects("c").await == [1] && world.database.parked().await.is_empty()
    })
    .await;
    let mut lines = log.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["orders.placed a first", "orders.placed b not JSON"]);
    running.stop().await;
}
