//! A handler decides about its message: another attempt, never, or not yet.

use std::time::Duration;

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError};

fn decide(order: &OrderPlaced, attempt: u32) -> Result<(), HandlerError> {
    match order.id {
        1 if attempt == 1 => Err(HandlerError::retry("the tax service did not answer")),
        2 => Err(HandlerError::reject("the customer does not exist")),
        3 => {
            let wait = Duration::from_secs(60);
            Err(HandlerError::defer(
                wait,
                "the customer has not arrived yet",
            ))
        }
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let orders = vec![
        OrderPlaced::new(1, "ann"),
        OrderPlaced::new(2, "bob"),
        OrderPlaced::new(3, "cid"),
    ];
    example::place(&pool, orders).await?;

    // Two attempts at the first order, and one at each other order.
    let countdown = Countdown::new(4);
    let counts = countdown.clone();
    let handler = move |ctx: Context, order: OrderPlaced| {
        let decided = decide(&order, ctx.attempt());
        counts.count(1);
        async { decided }
    };
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .on::<OrderPlaced, _, _>(handler)
        .build()?;
    let parked = consumer.parked();
    consumer.run(countdown.over()).await?;

    for delivery in parked.list(0, 10).await? {
        println!("{delivery:?}");
    }
    Ok(())
}
