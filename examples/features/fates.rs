//! The errors of a service choose what becomes of their messages.

use std::time::Duration;

use anyhow::Context as _;
use example::{Countdown, OrderPlaced};
use inbox::{Consumer, Context, Fate, HasFate, extract::State};

#[derive(Debug, thiserror::Error)]
enum BillingError {
    #[error("the customer {0} does not exist")]
    NoCustomer(String),
    #[error("the customer {0} has not arrived yet")]
    Early(String),
}

impl HasFate for BillingError {
    fn fate(&self) -> Fate {
        match self {
            Self::NoCustomer(_) => Fate::Reject,
            Self::Early(_) => Fate::Defer(Duration::from_mins(1)),
        }
    }
}

/// The part of a service that knows nothing of messages.
fn invoice(order: &OrderPlaced) -> Result<(), BillingError> {
    let customer = order.customer.clone();
    match order.id {
        1 => Err(BillingError::NoCustomer(customer)),
        2 => Err(BillingError::Early(customer)),
        _ => Ok(()),
    }
}

async fn handle(
    _: Context,
    State(countdown): State<Countdown>,
    order: OrderPlaced,
) -> anyhow::Result<()> {
    countdown.count(1);
    invoice(&order).with_context(|| format!("invoicing order {}", order.id))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = example::database().await?;
    let orders = vec![
        OrderPlaced::new(1, "ann"),
        OrderPlaced::new(2, "bob"),
        OrderPlaced::new(3, "cid"),
    ];
    example::place(&pool, orders).await?;

    let countdown = Countdown::new(3);
    let consumer = Consumer::builder("billing")
        .database(pool)
        .amqp_url(example::amqp_url()?)
        .classify_as::<BillingError>()
        .with_state(countdown.clone())
        .on(handle)
        .build()?;
    let parked = consumer.parked();
    consumer.run(countdown.over()).await?;

    for delivery in parked.list(0, 10).await? {
        let (reason, error) = (delivery.reason, delivery.error);
        println!(
            "{:?}: {}",
            reason.context("no reason")?,
            error.unwrap_or_default()
        );
    }
    Ok(())
}
