//! Publishes many messages in one statement, typed and raw, with a key and a header.

use example::OrderPlaced;
use outbox::{Message, Outbox};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let messages = vec![
        Message::event(&OrderPlaced::new(1, "ann"))?,
        Message::event(&OrderPlaced::new(2, "bob"))?.header("channel", "web")?,
        Message::bytes("orders.exported", "text/csv", b"1;2".to_vec())?.key("export")?,
    ];

    let mut tx = outbox::transaction::begin(&pool).await?;
    let ids = Outbox::new().publish_all(&mut tx, messages).await?;
    tx.commit().await?;

    println!("published {} messages", ids.len());
    Ok(())
}
