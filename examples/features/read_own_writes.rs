//! A request waits until a consumer has handled what an earlier request wrote.

use std::time::Duration;

use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, HandlerError, extract::State};
use outbox::{ConsistencyToken, Outbox};

async fn handle(
    mut ctx: Context,
    State(countdown): State<Countdown>,
    order: OrderPlaced,
) -> Result<(), HandlerError> {
    sqlx::query("INSERT INTO orders (id, customer, cents) VALUES ($1, $2, $3)")
        .bind(order.id)
        .bind(order.customer)
        .bind(order.cents)
        .execute(ctx.connection())
        .await?;
    countdown.count(1);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let countdown = Countdown::new(1);
    let consumer = Consumer::builder("billing")
        .database(pool.clone())
        .amqp_url(example::amqp_url()?)
        .with_state(countdown.clone())
        .on(handle)
        .build()?;
    let waiter = consumer.waiter();
    let running = tokio::spawn(consumer.run(countdown.over()));

    // The first request; its answer carries the token.
    let mut tx = outbox::transaction::begin(&pool).await?;
    let order = OrderPlaced::new(1, "ann");
    let id = Outbox::new().publish(&mut tx, &order).await?;
    tx.commit().await?;
    let cookie = ConsistencyToken::of::<OrderPlaced>(id).to_string();

    // The second request, which brings the token along.
    let token: ConsistencyToken = cookie.parse()?;
    waiter.wait(&token, Duration::from_mins(1)).await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE id = 1")
        .fetch_one(&pool)
        .await?;
    println!("the order is there: {count}");
    running.await??;
    Ok(())
}
