//! Headers that fit no frame: they stop their message alone.

use inbox::Context;
use postroom_testkit::eventually;
use serde_json::json;
use support::raw::{HEADERS, MESSAGE_ID, RawPublisher, TYPE, long_value, short_string, table};
use uuid::Uuid;

use crate::{
    unreadable::{DEAD_SHORT, ROUTE, keep, start},
    world::{Log, Placed, Running, World},
};

/// The queue counts redeliveries in a header of the message, so one that filled a frame no longer fits: the
/// client ended the connection each time it came.
#[tokio::test]
async fn headers_that_outgrow_a_frame_when_redelivered_stop_their_message_alone() {
    const FRAME_MAX: usize = 131_072;
    let world = World::new().await;
    let runs = Log::default();
    let log = runs.clone();
    let handler = move |ctx: Context, event: Placed| {
        let log = log.clone();
        async move {
            log.add(event.customer.clone());
            if event.customer == "large" {
                return std::future::pending().await;
            }
            keep(ctx, event).await
        }
    };
    let builder = || world.consumer().on::<Placed, _, _>(handler.clone());
    let running = Running::start(&world.broker, "billing", builder()).await;
    let mut publisher = RawPublisher::connect(&world.broker.url()).await;
    let id = Uuid::now_v7().to_string();
    let values = |fill: usize| {
        let headers = table(&[(b"fill", long_value(b'S', &vec![b'x'; fill]))]);
        [
            headers,
            short_string(id.as_bytes()),
            short_string(b"orders.placed"),
        ]
        .concat()
    };
    // Class, weight, body size and flags, within a frame's header and end.
    let room = FRAME_MAX - 8 - 14 - values(0).len();
    let body = serde_json::to_vec(&Placed::new("large", 1)).unwrap();
    let flags = HEADERS | MESSAGE_ID | TYPE;
    publisher
        .publish(ROUTE, (flags, &values(room)), &body)
        .await;
    eventually("the large one is being handled", async || {
        runs.count("large") == 1
    })
    .await;
    running.kill().await;
    let running = Running::start(&world.broker, "billing", builder()).await;
    world.broker.publish(&Placed::new("b", 1)).await;
    eventually("the good message is handled", async || {
        world.database.effects("b").await == [1]
    })
    .await;
    let expected = format!("undecodable|dead|{id}|-|orders.placed");
    eventually("the large one is dead", async || {
        world.database.texts(DEAD_SHORT).await == [expected.clone()]
    })
    .await;
    running.stop().await;
}

/// RabbitMQ sends headers that came by HTTP in one frame, however large they are.
#[tokio::test]
async fn headers_larger_than_any_frame_stop_their_message_alone() {
    let world = World::new().await;
    let running = start(&world).await;
    let vhost = &world.broker.vhost;
    let path = format!("exchanges/{}/postroom/publish", vhost.name);
    let many: serde_json::Map<_, _> = (0..50_000)
        .map(|number| (format!("{number:x}"), json!(true)))
        .collect();
    let mut dead = Vec::new();
    for headers in [json!(many), json!({ "numbers": vec![1; 1_000_000] })] {
        let id = Uuid::now_v7().to_string();
        let message = json!({
            "routing_key": "orders.placed",
            "properties": { "message_id": id, "type": "orders.placed", "headers": headers },
            "payload": "{}",
            "payload_encoding": "string",
        });
        vhost.request("POST", &path, Some(&message));
        dead.push(id);
    }
    world.broker.publish(&Placed::new("b", 1)).await;
    eventually("the good message is handled", async || {
        world.database.effects("b").await == [1]
    })
    .await;
    // The properties behind the headers of the larger one are not read.
    let dead = [
        format!("undecodable|dead|{}|-|orders.placed", dead[0]),
        "undecodable|dead|-|-|-".to_owned(),
    ];
    eventually("the others are dead", async || {
        let mut rows = world.database.texts(DEAD_SHORT).await;
        rows.sort();
        let mut dead = dead.clone();
        dead.sort();
        rows == dead
    })
    .await;
    running.stop().await;
    world.broker.settled("billing").await;
}
