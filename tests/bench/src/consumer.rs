//! The consumer that the figures measure.

use std::{
    sync::Arc,
    task::{self, Poll},
};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use inbox::{Consumer, ConsumerBuilder, Context, Delivery, DeliveryService, HandlerError, Outcome};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, postgres::PgPoolOptions};
use support::{Login, Stack};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service, layer::layer_fn};
use uuid::Uuid;

use crate::{
    figures::latency::{Times, record},
    load::BODY,
};

/// Tables that handlers write to.
pub(crate) const TABLES: &str = "
CREATE TABLE account (key text PRIMARY KEY, total bigint NOT NULL);
INSERT INTO account SELECT 'key-' || n, 0 FROM generate_series(0, 999) AS n;
CREATE TABLE work (id uuid NOT NULL, key text);";

/// Prefetch of every measured consumer, in deliveries.
pub(crate) const PREFETCH: u16 = 1_000;

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

/// Returns a layer that records the end of each message's transaction.
pub(crate) fn timing(ends: Times) -> impl Layer<DeliveryService, Service = Timed> + Send + 'static {
    layer_fn(move |inner| Timed {
        inner,
        ends: Arc::clone(&ends),
    })
}

/// A service that records the end of each call.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    inner: DeliveryService,
    ends: Times,
}

impl Service<Delivery> for Timed {
    type Response = Outcome;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Outcome, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let id = delivery
            .message()
            .message_id
            .as_deref()
            .map(Uuid::try_parse);
        let (ends, ended) = (Arc::clone(&self.ends), self.inner.call(delivery));
        Box::pin(async move {
            let outcome = ended.await?;
            if let Some(Ok(id)) = id {
                record(&ends, id);
            }
            Ok(outcome)
        })
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
        support::eventually("the consumer's queue is bound", async || {
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
