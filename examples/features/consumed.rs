//! Handles another service's event with a type that is only consumed: the fields that are read, and no key.

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError, extract::State};
use outbox::Event;
use serde::Deserialize;

/// Part of [`OrderPlaced`] that this service reads. Neither `Serialize` nor a key is needed.
#[derive(Deserialize, Event)]
#[event(topic = "orders.placed", consumed)]
struct PlacedOrder {
    cents: i64,
}

async fn add(
    _: Context,
    State(countdown): State<Countdown>,
    order: PlacedOrder,
) -> Result<(), HandlerError> {
    println!("{} cents", order.cents);
    countdown.count(1);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let orders = vec![OrderPlaced::new(1, "ann"), OrderPlaced::new(2, "ann")];
    example::place(&pool, orders).await?;

    let countdown = Countdown::new(2);
    let consumer = Consumer::builder("revenue")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .with_state(countdown.clone())
        .on(add)
        .build()?;
    consumer.run(countdown.over()).await?;
    Ok(())
}
