//! A handler runs without a broker, as a test of it does: rehearsed without a trace, and then for good.

use example::OrderPlaced;
use inbox::{Consumer, Context, Delivery, HandlerError};

async fn invoice(mut ctx: Context, order: OrderPlaced) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO orders (id, customer, cents) VALUES ($1, $2, $3)")
        .bind(order.id)
        .bind(&order.customer)
        .bind(order.cents)
        .execute(ctx.connection())
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let consumer = Consumer::builder("billing")
        .database(pool.clone())
        .amqp_url("amqp://localhost")
        .on(invoice)
        .build()?;

    let delivery = Delivery::of(&OrderPlaced::new(1, "ann"))?;
    let orders = async || {
        let count = sqlx::query_scalar("SELECT count(*) FROM orders");
        count.fetch_one(&pool).await
    };
    let rehearsed = consumer.rehearse(delivery.clone()).await?;
    let count: i64 = orders().await?;
    println!("rehearsed: {rehearsed:?}, {count} orders");
    for _ in 0..2 {
        let handled = consumer.handle(delivery.clone()).await?;
        let count: i64 = orders().await?;
        println!("handled: {handled:?}, {count} orders");
    }
    Ok(())
}
