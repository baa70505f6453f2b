//! Publishes a message that the relay delivers later, and one that expires if it cannot be delivered in time.

use chrono::{TimeDelta, Utc};
use example::OrderPlaced;
use outbox::{Message, Outbox};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let in_a_minute = Utc::now() + TimeDelta::minutes(1);
    let reminder = Message::event(&OrderPlaced::new(1, "ann"))?.deliver_after(in_a_minute);
    let offer = Message::event(&OrderPlaced::new(2, "bob"))?.expires_at(in_a_minute);

    let mut tx = outbox::transaction::begin(&pool).await?;
    Outbox::new()
        .publish_all(&mut tx, [reminder, offer])
        .await?;
    tx.commit().await?;

    println!("published one message for {in_a_minute}, and one that is worthless after it");
    Ok(())
}
