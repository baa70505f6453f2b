//! Derived events, published and then consumed as another type of the same topic, type and version.

use std::borrow::Cow;

use inbox::{
    BatchContext, Consumer, ConsumerBuilder, Context, HandlerError, Received, extract::OrderingKey,
};
use outbox::{Event, Outbox};
use postroom_testkit::{Login, Stack, eventually};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::world::{Broker, Database, Placed, Running, World, insert_effect};

/// The publisher's type.
#[derive(Serialize, Event)]
#[event(topic = "orders.paid", type = "shop.Paid", version = 2, key = customer)]
struct Paid<'a> {
    customer: Option<&'a str>,
    n: i64,
    notes: Vec<Cow<'a, str>>,
}

/// Its first version, from a publisher of an earlier release.
#[derive(Serialize, Event)]
#[event(topic = "orders.paid", type = "shop.Paid", key = |paid| format!("{}{}", paid.first_name, paid.last_name))]
struct PaidV1 {
    first_name: String,
    last_name: String,
    number: i64,
}

/// Part of both events that consumers read: the type needs neither `Serialize` nor a key.
#[derive(Deserialize, Event)]
#[event(topic = "orders.paid", type = "shop.Paid", version = 2, consumed)]
struct Payment {
    n: i64,
}

#[derive(Deserialize)]
struct PaymentV1 {
    number: i64,
}

async fn one(
    mut ctx: Context,
    key: Option<OrderingKey>,
    payment: Payment,
) -> Result<(), HandlerError> {
    let customer = key.map_or_else(|| "guest".to_owned(), |OrderingKey(key)| key);
    insert_effect(&mut ctx, &Placed::new(&customer, payment.n)).await?;
    Ok(())
}

async fn many(mut ctx: BatchContext, payments: Vec<Received<Payment>>) -> Result<(), HandlerError> {
    let numbers: Vec<i64> = payments.iter().map(|payment| payment.event.n).collect();
    sqlx::query("INSERT INTO effect (n, customer) SELECT unnest($1::bigint[]), 'many'")
        .bind(numbers)
        .execute(ctx.connection())
        .await?;
    Ok(())
}

/// Adds the step from the first version.
fn upcasting(builder: ConsumerBuilder) -> ConsumerBuilder {
    builder.upcast::<Payment, _, _>(1, |old: PaymentV1| json!({"n": old.number}))
}

#[tokio::test]
async fn g5_a_derived_event_is_consumed_once_as_a_type_that_is_only_consumed() {
    let stack = Stack::new().await;
    let _relay = stack.relay().await;
    let publisher = stack.database.pool(Login::Producer).await;
    let Stack { database, broker } = stack;
    let world = World {
        database: Database::new(database).await,
        broker: Broker::new(broker).await,
    };
    let each = upcasting(world.consumer()).on(one);
    let each = Running::start(&world.broker, "billing", each).await;
    let batches = Consumer::builder("batches")
        .database(world.database.pool(12))
        .amqp_url(world.broker.url());
    let batches = upcasting(batches).on_many(many);
    let batches = Running::start(&world.broker, "batches", batches).await;

    let first = PaidV1 {
        first_name: "an".to_owned(),
        last_name: "n".to_owned(),
        number: 1,
    };
    let paid = |customer, n| Paid {
        customer,
        n,
        notes: vec![Cow::Borrowed("in cash")],
    };
    let then = [paid(None, 2), paid(Some("ann"), 3)];
    let mut tx = outbox::transaction::begin(&publisher).await.unwrap();
    Outbox::new().publish(&mut tx, &first).await.unwrap();
    Outbox::new().publish_all(&mut tx, &then).await.unwrap();
    tx.commit().await.unwrap();

    eventually("all are handled, by their keys", || async {
        let mut many = world.database.effects("many").await;
        many.sort_unstable();
        world.database.effects("ann").await == [1, 3]
            && world.database.effects("guest").await == [2]
            && many == [1, 2, 3]
    })
    .await;
    assert_eq!(world.database.parked().await, [""; 0]);
    each.stop().await;
    batches.stop().await;
}
