//! Brings bodies of older versions to the newest one, so that the handler knows one version only.

use example::Countdown;
use inbox::{Consumer, Context, HandlerError};
use outbox::{Event, Message, Outbox};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The event as it was published first.
#[derive(Serialize, Deserialize, Event)]
#[event(topic = "orders.paid", key = order)]
struct PaidV1 {
    order: i64,
    euros: f64,
}

/// The event as it is published now.
#[derive(Serialize, Deserialize, Event)]
#[event(topic = "orders.paid", version = 3, key = order)]
struct Paid {
    order: i64,
    cents: i64,
    currency: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let old = PaidV1 {
        order: 1,
        euros: 9.5,
    };
    let new = Paid {
        order: 1,
        cents: 50,
        currency: "EUR".to_owned(),
    };
    let mut tx = outbox::transaction::begin(&pool).await?;
    let messages = [Message::event(&old)?, Message::event(&new)?];
    Outbox::new().publish_all(&mut tx, messages).await?;
    tx.commit().await?;

    let countdown = Countdown::new(2);
    let counts = countdown.clone();
    let pay = move |_: Context, paid: Paid| {
        println!(
            "order {}: {} cents in {}",
            paid.order, paid.cents, paid.currency
        );
        counts.count(1);
        async { Ok::<_, HandlerError>(()) }
    };
    let consumer = Consumer::builder("ledger")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .on::<Paid, _, _>(pay)
        // From version 1 to 2: cents in place of euros.
        .upcast::<Paid, _, _>(1, |old: PaidV1| {
            let cents = (old.euros * 100.0).round() as i64;
            json!({"order": old.order, "cents": cents})
        })
        // From version 2 to 3: the currency is named.
        .upcast::<Paid, _, _>(2, |mut body: Value| {
            body["currency"] = json!("EUR");
            body
        })
        .build()?;
    consumer.run(countdown.over()).await?;
    Ok(())
}
