//! An order is invoiced once, although it was announced twice, in messages with ids of their own.

use std::time::Duration;

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError, Remember, extract::State};

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
    println!("invoiced order {}", order.id);
    countdown.count(1);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    // A shop that retries its request announces an order again: another message, with another id.
    let orders = [1, 1, 2].map(|id| OrderPlaced::new(id, "ann"));
    example::place(&pool, orders.into()).await?;

    let countdown = Countdown::new(2);
    let year = Remember::For(Duration::from_hours(365 * 24));
    let consumer = Consumer::builder("billing")
        .database(pool.clone())
        .amqp_url(example::amqp_url()?)
        .with_state(countdown.clone())
        .on(invoice)
        .idempotency_key(year, |order: &OrderPlaced| order.id.to_string())
        .build()?;
    consumer.run(countdown.over()).await?;

    let keys = "SELECT key FROM inbox.idempotency_key WHERE consumer = 'billing' ORDER BY key";
    let keys: Vec<String> = sqlx::query_scalar(keys).fetch_all(&pool).await?;
    println!("remembered orders {}", keys.join(" and "));
    Ok(())
}
