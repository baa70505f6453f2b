//! A handler publishes follow-up messages, which commit together with its work.
//!
//! They name the handled message as their cause.

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError};
use outbox::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "billing.invoiced", key = order)]
struct Invoiced {
    order: i64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    example::place(&pool, vec![OrderPlaced::new(1, "ann")]).await?;

    let countdown = Countdown::new(1);
    let counts = countdown.clone();
    let invoice = async |mut ctx: Context, order: OrderPlaced| {
        ctx.publish(&Invoiced { order: order.id }).await?;
        Ok::<_, HandlerError>(())
    };
    let announce = move |ctx: Context, invoiced: Invoiced| {
        let cause = ctx.message().causation_id.clone().unwrap_or_default();
        println!("order {} is invoiced, because of {cause}", invoiced.order);
        counts.count(1);
        async { Ok::<_, HandlerError>(()) }
    };
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .on::<OrderPlaced, _, _>(invoice)
        .on::<Invoiced, _, _>(announce)
        .build()?;
    consumer.run(countdown.over()).await?;
    Ok(())
}
