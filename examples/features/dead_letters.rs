//! Dead messages wait for an operator, who lists them, and retries or discards each.

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let orders = vec![OrderPlaced::new(1, "ann"), OrderPlaced::new(2, "bob")];
    example::place(&pool, orders).await?;

    let countdown = Countdown::new(2);
    let counts = countdown.clone();
    let reject = move |_: Context, _: OrderPlaced| {
        counts.count(1);
        async { Err::<(), _>(HandlerError::reject("a bug in this release")) }
    };
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .on::<OrderPlaced, _, _>(reject)
        .build()?;
    let parked = consumer.parked();
    consumer.run(countdown.over()).await?;

    let dead = parked.list(0, 100).await?;
    println!("{} messages are dead", dead.len());
    for (number, delivery) in dead.iter().enumerate() {
        if number == 0 {
            parked.retry(delivery.id).await?;
            println!("one is tried again by the next process");
        } else {
            parked.discard(delivery.id).await?;
            println!("one is discarded");
        }
    }
    Ok(())
}
