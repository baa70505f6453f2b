//! Up to fifty waiting messages share a transaction, and the handler stays as it is.

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError, extract::State};

async fn archive(
    mut ctx: Context,
    State(countdown): State<Countdown>,
    order: OrderPlaced,
) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO orders (id, customer) VALUES ($1, $2)")
        .bind(order.id)
        .bind(order.customer)
        .execute(ctx.connection())
        .await?;
    countdown.count(1);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    // A customer each: the relay sends the messages of one customer one after another.
    let orders = (1..=500).map(|id| OrderPlaced::new(id, &format!("customer {id}")));
    example::place(&pool, orders.collect()).await?;

    let countdown = Countdown::new(500);
    let consumer = Consumer::builder("archive")
        .database(pool.clone())
        .amqp_url(example::amqp_url()?)
        // With one worker, messages wait.
        .workers(1)
        .messages_per_transaction(50)
        .with_state(countdown.clone())
        .on(archive)
        .build()?;
    consumer.run(countdown.over()).await?;

    let transactions = "SELECT count(DISTINCT xmin::text) FROM orders";
    let transactions: i64 = sqlx::query_scalar(transactions).fetch_one(&pool).await?;
    println!("500 orders in {transactions} transactions");
    Ok(())
}
