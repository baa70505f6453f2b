//! A message is published on a pool, so without a transaction.

use inbox::{Consumer, Context, HandlerError};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: i64,
}

impl outbox::Event for OrderPlaced {
    const TOPIC: &'static str = "orders.placed";
    fn key(&self) -> Option<String> {
        None
    }
}

async fn place(pool: &sqlx::PgPool) -> Result<(), HandlerError> {
    outbox::Outbox::new()
        .publish(pool, &OrderPlaced { id: 1 })
        .await?;
    Ok(())
}

fn main() {
    let _ = Consumer::builder("billing")
        .on(|_: Context, _: OrderPlaced| async { Ok::<_, HandlerError>(()) });
    let _ = place;
}
