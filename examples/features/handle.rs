//! Handles each message once: the handler's writes and the record of the message commit together.

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError};

async fn invoice(mut ctx: Context, order: OrderPlaced) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO orders (id, customer, cents) VALUES ($1, $2, $3)")
        .bind(order.id)
        .bind(&order.customer)
        .bind(order.cents)
        .execute(ctx.connection())
        .await?;
    println!("handled order {}", order.id);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    example::place(
        &pool,
        (1..=3).map(|id| OrderPlaced::new(id, "ann")).collect(),
    )
    .await?;

    let countdown = Countdown::new(3);
    let counts = countdown.clone();
    let handler = move |ctx: Context, order: OrderPlaced| {
        let counts = counts.clone();
        async move {
            invoice(ctx, order).await?;
            counts.count(1);
            Ok::<_, HandlerError>(())
        }
    };
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .on::<OrderPlaced, _, _>(handler)
        .build()?;
    consumer.run(countdown.over()).await?;
    Ok(())
}
