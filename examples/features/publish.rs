//! Publishes an event in the transaction that changes the service's data: both commit, or neither.

use example::OrderPlaced;
use outbox::Outbox;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let order = OrderPlaced::new(1, "ann");

    let mut tx = outbox::transaction::begin(&pool).await?;
    sqlx::query("INSERT INTO orders (id, customer, cents) VALUES ($1, $2, $3)")
        .bind(order.id)
        .bind(&order.customer)
        .bind(order.cents)
        .execute(&mut *tx)
        .await?;
    let id = Outbox::new().publish(&mut tx, &order).await?;
    tx.commit().await?;

    println!("published {id}");
    Ok(())
}
