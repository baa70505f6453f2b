//! A handler takes many messages at once: one statement for all of them, and one transaction.

use example::{Countdown, OrderPlaced};
use inbox::{BatchContext, Consumer, HandlerError, Received, extract::State};

async fn insert(
    mut ctx: BatchContext,
    State(countdown): State<Countdown>,
    orders: Vec<Received<OrderPlaced>>,
) -> Result<(), HandlerError> {
    let ids: Vec<i64> = orders.iter().map(|order| order.event.id).collect();
    let cents: Vec<i64> = orders.iter().map(|order| order.event.cents).collect();
    sqlx::query("INSERT INTO orders (id, cents) SELECT * FROM unnest($1::bigint[], $2::bigint[])")
        .bind(ids)
        .bind(cents)
        .execute(ctx.connection())
        .await?;
    println!("handled {} orders", orders.len());
    countdown.count(orders.len());
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    // A customer each: the relay sends the messages of one customer one after another.
    let orders = (1..=500).map(|id| OrderPlaced::new(id, &format!("customer {id}")));
    example::place(&pool, orders.collect()).await?;

    let countdown = Countdown::new(500);
    let consumer = Consumer::builder("statistics")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        // With one worker, messages wait.
        .workers(1)
        .with_state(countdown.clone())
        .on_many(insert)
        .build()?;
    consumer.run(countdown.over()).await?;
    Ok(())
}
