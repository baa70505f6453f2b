//! Two processes of a consumer share its messages, and each customer's orders stay in order. Here the processes are two
//! consumers in one program.

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
    println!("order {} of {}", order.id, order.customer);
    countdown.count(1);
    Ok(())
}

/// Makes a process's consumer. All processes have the same number of partitions.
async fn process(countdown: &Countdown) -> anyhow::Result<Consumer> {
    Ok(Consumer::builder("billing")
        .database(example::database().await?)
        .amqp_url(example::amqp_url()?)
        .with_state(countdown.clone())
        .on(invoice)
        .partitions(4)
        .workers(4)
        .build()?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let customers = ["ann", "bob", "cid", "ann", "bob", "cid"];
    let orders = (1..).zip(customers);
    let orders = orders.map(|(id, customer)| OrderPlaced::new(id, customer));
    example::place(&pool, orders.collect()).await?;

    let countdown = Countdown::new(6);
    let (first, second) = (process(&countdown).await?, process(&countdown).await?);
    tokio::try_join!(first.run(countdown.over()), second.run(countdown.over()))?;
    Ok(())
}
