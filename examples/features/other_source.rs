//! Messages from elsewhere, such as HTTP callbacks, are handled once too: `TransactionLayer` without a consumer.

use inbox::{Context, Delivery, HandlerError, Incoming, TransactionLayer};
use tower::{Layer as _, ServiceExt as _, service_fn};
use uuid::Uuid;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let handler = service_fn(async |mut ctx: Context| {
        sqlx::query("INSERT INTO orders (customer) VALUES ('ann')")
            .execute(ctx.connection())
            .await?;
        Ok::<_, HandlerError>(())
    });
    let service = TransactionLayer::new(pool, "callbacks").layer(handler);

    let mut message = Incoming::default();
    message.message_id = Some(Uuid::now_v7().to_string());
    let delivery = Delivery::new(message, b"{}".to_vec());
    for _ in 0..2 {
        let outcome = service.clone().oneshot(delivery.clone()).await?;
        println!("{outcome:?}");
    }
    Ok(())
}
