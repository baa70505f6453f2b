//! A consumer that leaves one row for each message, for tests that kill it.

use std::time::Duration;

use inbox::{Consumer, Context, HandlerError, Remember};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use tokio::signal::unix::{SignalKind, signal};

/// A message of the load; `by` tells how it was written, or what is to go wrong.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    by: String,
    /// Messages of one order have one effect.
    order: Option<String>,
}

impl outbox::Event for Written {
    const TOPIC: &'static str = "load";

    fn key(&self) -> Option<String> {
        None
    }
}

async fn record(mut ctx: Context, message: Written) -> Result<(), HandlerError> {
    let (id, key) = (ctx.message().message_id.clone(), ctx.message().key.clone());
    sqlx::query("INSERT INTO effect (id, key) VALUES ($1::text::uuid, $2)")
        .bind(id)
        .bind(key)
        .execute(ctx.connection())
        .await?;
    match message.by.as_str() {
        "aborting" => std::process::abort(),
        "failing" => {
            let broken: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM broken)")
                .fetch_one(ctx.connection())
                .await?;
            if broken {
                return Err(std::io::Error::other("what it needs is broken").into());
            }
        }
        _ => {}
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(12)
        .connect_lazy(&std::env::var("POSTROOM_DATABASE_URL")?)?;
    let mut stop = signal(SignalKind::terminate())?;
    let millis = Duration::from_millis;
    let builder = Consumer::builder("ledger");
    let builder = match std::env::var("PARTITIONS") {
        Ok(partitions) => builder.partitions(partitions.parse()?),
        Err(_) => builder,
    };
    let builder = match std::env::var("MAX_CRASHES") {
        Ok(crashes) => builder.max_crashes(crashes.parse()?),
        Err(_) => builder,
    };
    builder
        .database(pool)
        .amqp_url(std::env::var("POSTROOM_AMQP_URL")?)
        // The same for all processes: otherwise the broker would not keep the order.
        .prefetch(800)
        .messages_per_transaction(std::env::var("TOGETHER")?.parse()?)
        .handler_timeout(Duration::from_secs(15))
        .attempts_in_place(2)
        .backoff_in_place(millis(1), millis(10))
        .backoff_parked(millis(50), millis(200))
        .max_attempts(1_000)
        .on::<Written, _, _>(record)
        .idempotency_key(Remember::Forever, |message: &Written| message.order.clone())
        .build()?
        .run(async move {
            stop.recv().await;
        })
        .await?;
    Ok(())
}
