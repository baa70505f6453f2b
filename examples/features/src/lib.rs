//! Shared parts of the examples: the servers, an event, and an end after some messages.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Context as _;
use outbox::Event;
use serde::{Deserialize, Serialize};
use sqlx::{Executor as _, PgPool};
use tokio_util::sync::CancellationToken;

/// An order was placed.
#[derive(Debug, Serialize, Deserialize, Event)]
#[event(topic = "orders.placed", key = customer)]
pub struct OrderPlaced {
    /// Number of the order.
    pub id: i64,
    /// Customer, by whom the orders are kept in their order.
    pub customer: String,
    /// Price in cents.
    pub cents: i64,
}

impl OrderPlaced {
    /// Makes an order of a customer.
    pub fn new(id: i64, customer: &str) -> Self {
        Self {
            id,
            customer: customer.to_owned(),
            cents: 100 * id,
        }
    }
}

/// Connects to the database, and makes the table of the examples' service.
///
/// # Errors
/// Fails if `POSTROOM_DATABASE_URL` is missing, or the database cannot be used.
pub async fn database() -> anyhow::Result<PgPool> {
    let url = variable("POSTROOM_DATABASE_URL")?;
    let pool = outbox::pool::options().connect(&url).await;
    let pool = pool.context("connecting to the database of POSTROOM_DATABASE_URL")?;
    let table =
        "CREATE TABLE IF NOT EXISTS orders (id bigint, customer text, cents bigint, tenant text)";
    pool.execute(table).await?;
    Ok(pool)
}

/// Returns the broker's URL.
///
/// # Errors
/// Fails if `POSTROOM_AMQP_URL` is missing.
pub fn amqp_url() -> anyhow::Result<String> {
    variable("POSTROOM_AMQP_URL")
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name)
        .with_context(|| format!("{name} is not set; run the example with examples/run"))
}

/// Publishes orders in one transaction.
///
/// # Errors
/// Fails if the database cannot be used.
pub async fn place(pool: &PgPool, orders: Vec<OrderPlaced>) -> anyhow::Result<()> {
    let mut tx = outbox::transaction::begin(pool).await?;
    outbox::Outbox::new().publish_all(&mut tx, &orders).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends a consumer after some messages. A real service waits for SIGTERM instead.
#[derive(Debug, Clone)]
pub struct Countdown {
    left: Arc<AtomicUsize>,
    over: CancellationToken,
}

impl Countdown {
    /// Begins to count down from `messages`.
    pub fn new(messages: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(messages)),
            over: CancellationToken::new(),
        }
    }

    /// Counts messages.
    pub fn count(&self, messages: usize) {
        if self.left.fetch_sub(messages, Ordering::SeqCst) <= messages {
            self.over.cancel();
        }
    }

    /// Completes when all messages are counted.
    pub fn over(&self) -> impl Future<Output = ()> + use<> {
        self.over.clone().cancelled_owned()
    }
}
