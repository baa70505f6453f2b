//! Handlers run without a broker, as with a delivery from the queue.

use inbox::{Context, Delivery, HandlerError, Outcome, Reason};
use postroom_testkit::{Expected, TestQueue, assert_nothing_else, eventually};
use serde::Deserialize;
use serde_json::json;

use crate::world::{Invoiced, Placed, World, delivery, invoice};

#[tokio::test]
async fn g5_a_delivery_is_handled_once() {
    let world = World::new().await;
    let consumer = world.consumer().on::<Placed, _, _>(invoice);
    let consumer = consumer.build().unwrap();
    let delivery = delivery(7);
    for outcome in [Outcome::Handled, Outcome::Duplicate] {
        let handled = consumer.handle(delivery.clone()).await.unwrap();
        assert_eq!(handled, outcome);
        assert_eq!(world.invoices().await, [7]);
        assert_nothing_else(&world.admin, [Expected::of(&Invoiced { n: 7 })]).await;
    }
}

async fn rejects(_: Context, _: Placed) -> Result<(), HandlerError> {
    Err(HandlerError::reject("no such customer"))
}

async fn fails(mut ctx: Context, order: Placed) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO invoice (n) VALUES ($1)")
        .bind(order.n)
        .execute(ctx.connection())
        .await?;
    Err(HandlerError::retry("no paper"))
}

#[tokio::test]
async fn a_failed_attempt_tells_its_reason_and_writes_nothing() {
    let world = World::new().await;
    let failing = world.consumer().on::<Placed, _, _>(fails).build().unwrap();
    let error = failing.handle(delivery(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "the handler failed: no paper");
    assert_eq!(
        (error.reason(), error.is_final()),
        (Some(Reason::Failed), false)
    );

    let rejecting = world.consumer().on::<Placed, _, _>(rejects);
    let rejecting = rejecting.build().unwrap();
    let error = rejecting.handle(delivery(1)).await.unwrap_err();
    assert!(error.to_string().ends_with("no such customer"), "{error}");
    assert_eq!(
        (error.reason(), error.is_final()),
        (Some(Reason::Rejected), true)
    );

    let unhandled = Delivery::of(&Invoiced { n: 1 }).unwrap();
    let error = rejecting.handle(unhandled).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Unhandled));
    let newer = delivery(1).with_message(|message| message.version = Some(3));
    let error = rejecting.handle(newer).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::NewerVersion));

    for table in ["invoice", "inbox.processed", "inbox.parked"] {
        assert_eq!(world.count(table).await, 0, "{table}");
    }
}

/// A delivery waits behind a parked one of its key, but not one that is rehearsed.
#[tokio::test(flavor = "multi_thread")]
async fn g4_a_delivery_is_parked_behind_its_key() {
    let world = World::new().await;
    let queue = TestQueue::default();
    queue.push(delivery(1));
    let failing = world.consumer().attempts_in_place(1);
    let failing = failing.on::<Placed, _, _>(fails).build().unwrap();
    let parked = eventually("the first message is parked", async || queue.is_empty());
    failing.run_over(queue.clone(), parked).await.unwrap();
    assert_eq!(world.count("inbox.parked").await, 1);

    let consumer = world.consumer().on::<Placed, _, _>(invoice);
    let consumer = consumer.build().unwrap();
    let behind = Outcome::Parked(Reason::Behind);
    assert_eq!(consumer.rehearse(delivery(2)).await.unwrap(), behind);
    assert_eq!(world.count("inbox.parked").await, 1);
    assert_eq!(consumer.handle(delivery(2)).await.unwrap(), behind);
    assert_eq!(world.count("inbox.parked").await, 2);
    assert!(world.invoices().await.is_empty());
}

/// The event's version 1.
#[derive(Deserialize)]
struct PlacedV1 {
    client: String,
    n: i64,
}

/// A body of version 1, in which the customer was called by another name.
fn old(body: &serde_json::Value) -> Delivery {
    let delivery = delivery(1).with_message(|message| message.version = Some(1));
    delivery.with_body(serde_json::to_vec(body).unwrap())
}

#[tokio::test]
async fn an_old_body_is_read_by_its_steps_without_its_handler() {
    let world = World::new().await;
    let consumer = world.consumer().on::<Placed, _, _>(rejects);
    let consumer = consumer.upcast::<Placed, _, _>(1, |old: PlacedV1| Placed {
        customer: old.client,
        n: old.n,
    });
    let consumer = consumer.build().unwrap();
    consumer
        .read(&old(&json!({ "client": "anna", "n": 1 })))
        .unwrap();
    let unread = old(&json!({ "customer": "anna", "n": 1 }));
    let error = consumer.read(&unread).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Undecodable));
    assert!(
        error.to_string().contains("missing field `client`"),
        "{error}"
    );
}
