//! Handles each message once: the handler's writes and the record of the message commit together.

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError, extract::State};

async fn invoice(
    mut ctx: Context,
    State(countdown): State<Countdown>,
    order: OrderPlaced,
) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO orders (id, customer, cents) VALUES ($1, $2, $3)")
        .bind(order.id)
        .bind(&order.customer)
        .bind(order.cents)
        .execute(ctx.connection())
        .await?;
    println!("handled order {}", order.id);
    countdown.count(1);
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
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .with_state(countdown.clone())
        .on(invoice)
        .build()?;
    consumer.run(countdown.over()).await?;
    Ok(())
}
