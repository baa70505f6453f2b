//! The consumer that the figures measure.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use inbox::{Consumer, ConsumerBuilder, Context, HandlerError};
use postroom_testkit::{Login, Stack};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, postgres::PgPoolOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::load::BODY;

/// Tables that handlers write to.
pub(crate) const TABLES: &str = "
CREATE TABLE account (key text PRIMARY KEY, total bigint NOT NULL);
INSERT INTO account SELECT 'key-' || n, 0 FROM generate_series(0, 999) AS n;
CREATE TABLE work (id uuid NOT NULL, key text);";

/// Prefetch of every measured consumer, in deliveries.
pub(crate) const PREFETCH: u16 = 1_000;

/// Number of messages whose handlers have run. Figures run one after another, and reset it.
pub(crate) static HANDLED: AtomicU64 = AtomicU64::new(0);

/// Body of every message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) x: String,
}

impl outbox::Event for Event {
    const TOPIC: &'static str = "bench.event";

    fn key(&self) -> Option<String> {
        None
    }
}

/// Runs three statements for a message with an id and key.
pub(crate) async fn run_three_statements(
    connection: &mut PgConnection,
    id: &str,
    key: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO work VALUES ($1::text::uuid, $2)")
        .bind(id)
        .bind(key)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE account SET total = total + 1 WHERE key = $1")
        .bind(key)
        .execute(&mut *connection)
        .await?;
    sqlx::query("SELECT total FROM account WHERE key = $1")
        .bind(key)
        .fetch_optional(&mut *connection)
        .await?;
    Ok(())
}

/// Returns a builder of a consumer of the queue `bench` whose handler runs three statements.
pub(crate) fn consumer(stack: &Stack, workers: usize, together: usize) -> ConsumerBuilder {
    let handler = async |mut ctx: Context, _: Event| {
        let id = ctx.message().message_id.clone().unwrap_or_default();
        let key = ctx.message().key.clone();
        run_three_statements(ctx.connection(), &id, key.as_deref()).await?;
        HANDLED.fetch_add(1, Ordering::Relaxed);
        Ok::<_, HandlerError>(())
    };
    base(stack, workers)
        .messages_per_transaction(together)
        .on::<Event, _, _>(handler)
}

/// Returns a builder of a consumer without a handler.
pub(crate) fn base(stack: &Stack, workers: usize) -> ConsumerBuilder {
    let pool = PgPoolOptions::new()
        .max_connections(workers as u32 + 4)
        .test_before_acquire(false);
    let pool = pool.connect_lazy(&stack.database.url(Login::Consumer));
    let builder = Consumer::builder("bench")
        .amqp_url(stack.broker.url())
        // Some figures have no relay.
        .declare_exchange(true)
        .workers(workers)
        .prefetch(PREFETCH);
    match pool {
        Ok(pool) => builder.database(pool),
        Err(_) => builder,
    }
}

/// A running consumer.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), inbox::RunError>>,
}

impl Running {
    /// Starts the consumer and waits until its queue is bound.
    pub(crate) async fn start(stack: &Stack, consumer: Consumer) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let task = tokio::spawn(consumer.run(stop.clone().cancelled_owned()));
        let path = format!("bindings/{}", stack.broker.name);
        postroom_testkit::eventually("the consumer's queue is bound", async || {
            let bindings = stack.broker.request("GET", &path, None);
            let mut bindings = bindings.as_array().into_iter().flatten();
            bindings.any(|b| b["destination"] == "bench" && b["routing_key"] == "bench.event")
        })
        .await;
        Ok(Self { stop, task })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await?.context("running the consumer")
    }
}

/// Returns the body of an event as it is sent.
pub(crate) fn body() -> anyhow::Result<Vec<u8>> {
    let x = "x".repeat(BODY - r#"{"x":""}"#.len());
    Ok(serde_json::to_vec(&Event { x })?)
}
