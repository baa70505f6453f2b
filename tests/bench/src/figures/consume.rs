//! What the inbox adds to a handler, and what batches save.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{self, Poll},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, future::BoxFuture};
use inbox::{
    BatchContext, Consumer, ConsumerBuilder, Context, Delivery, DeliveryService, HandlerError,
    Outcome, Received,
};
use lapin::{
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, postgres::PgPoolOptions};
use support::{Login, Stack, short};
use tokio::{
    sync::Mutex,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service, ServiceBuilder, layer::layer_fn, util::MapResponseLayer};
use uuid::Uuid;

use super::latency::{Moments, note};
use crate::{
    Bench,
    figure::Figure,
    load::{BODY, bounded_in_time},
    pairs::Pairs,
    straight,
};

/// What handlers write to.
pub(crate) const TABLES: &str = "
CREATE TABLE account (key text PRIMARY KEY, total bigint NOT NULL);
INSERT INTO account SELECT 'key-' || n, 0 FROM generate_series(0, 999) AS n;
CREATE TABLE work (id uuid NOT NULL, key text);";

const WORKERS: usize = 16;
const PREFETCH: u16 = 1_000;

/// The body of every message here.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Event {
    x: String,
}

impl outbox::Event for Event {
    const TOPIC: &'static str = "bench.event";

    fn key(&self) -> Option<String> {
        None
    }
}

/// Three statements, by message id and key.
async fn three(
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

/// A consumer of the queue `bench` whose handler runs three statements.
pub(crate) fn consumer(stack: &Stack, workers: usize, together: usize) -> ConsumerBuilder {
    let handler = async |mut ctx: Context, _: Event| {
        let id = ctx.message().message_id.clone().unwrap_or_default();
        let key = ctx.message().key.clone();
        three(ctx.connection(), &id, key.as_deref()).await?;
        Ok::<_, HandlerError>(())
    };
    base(stack, workers)
        .messages_per_transaction(together)
        .on::<Event, _, _>(handler)
}

fn base(stack: &Stack, workers: usize) -> ConsumerBuilder {
    let pool = PgPoolOptions::new()
        .max_connections(workers as u32 + 4)
        .test_before_acquire(false);
    let pool = pool.connect_lazy(&stack.database.url(Login::Consumer));
    let builder = Consumer::builder("bench")
        .amqp_url(stack.broker.url())
        .workers(workers)
        .prefetch(PREFETCH);
    match pool {
        Ok(pool) => builder.database(pool),
        Err(_) => builder,
    }
}

/// Notes when the transaction of each message has ended.
pub(crate) fn noting(
    ends: Moments,
) -> impl Layer<DeliveryService, Service = Noted> + Send + 'static {
    layer_fn(move |inner| Noted {
        inner,
        ends: Arc::clone(&ends),
    })
}

/// A service whose ends are noted.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    inner: DeliveryService,
    ends: Moments,
}

impl Service<Delivery> for Noted {
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
                note(&ends, id);
            }
            Ok(outcome)
        })
    }
}

/// A consumer at work.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), inbox::RunError>>,
}

impl Running {
    /// Starts it and waits until its queue is there.
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

/// Messages that wait in the queue of a consumer that has been there.
async fn waiting(bench: &Bench, count: u64) -> anyhow::Result<Stack> {
    let stack = bench.servers.stack().await;
    stack.database.ddl(TABLES).await;
    let declares = consumer(&stack, 1, 1).build()?;
    Running::start(&stack, declares).await?.stop().await?;
    refill(&stack, count).await?;
    Ok(stack)
}

/// An event as it is sent.
pub(crate) fn body() -> anyhow::Result<Vec<u8>> {
    let x = "x".repeat(BODY - r#"{"x":""}"#.len());
    Ok(serde_json::to_vec(&Event { x })?)
}

async fn refill(stack: &Stack, count: u64) -> anyhow::Result<()> {
    let body = body()?;
    straight::publish(stack, "bench.event", count, 1_000, &body).await?;
    Ok(())
}

/// Handles what waits, and returns how much a second. The first tenth is left out.
async fn handle(stack: &Stack, builder: ConsumerBuilder, count: u64) -> anyhow::Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&done);
    let count_handled = MapResponseLayer::new(move |outcome: Outcome| {
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    });
    let layer = ServiceBuilder::new().layer(count_handled);
    let running = Running::start(stack, builder.layer(layer).build()?).await?;
    let rate = rate(&done, count).await?;
    running.stop().await?;
    worked(stack, count).await?;
    Ok(rate)
}

/// Every message had its effect, none was parked: a speed of anything else is none. Empties the
/// table for the next.
async fn worked(stack: &Stack, count: u64) -> anyhow::Result<()> {
    let mut owner = stack.database.connect(Login::Owner).await;
    let effects: i64 = sqlx::query_scalar("SELECT count(*) FROM work")
        .fetch_one(&mut owner)
        .await?;
    anyhow::ensure!(
        effects == count as i64,
        "{effects} effects of {count} messages"
    );
    owner.execute("TRUNCATE work").await?;
    Ok(())
}

async fn rate(done: &AtomicU64, count: u64) -> anyhow::Result<f64> {
    bounded_in_time("handling messages", async {
        let reached = async |goal: u64| {
            while done.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (done.load(Ordering::Relaxed), Instant::now())
        };
        let first = reached(count / 10).await;
        let last = reached(count).await;
        Ok((last.0 - first.0) as f64 / (last.1 - first.1).as_secs_f64())
    })
    .await
}

/// The same statements in a bare consumer: begin, handle, commit, acknowledge.
async fn bare(stack: &Stack, count: u64) -> anyhow::Result<f64> {
    let (_connection, channel) = stack.broker.channel().await;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let options = BasicConsumeOptions::default();
    let name = ShortString::default();
    let deliveries = channel.basic_consume(short("bench"), name, options, FieldTable::default());
    let deliveries = Arc::new(Mutex::new(deliveries.await?));
    let done = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (deliveries, done) = (Arc::clone(&deliveries), Arc::clone(&done));
        let mut connection = stack.database.connect(Login::Consumer).await;
        workers.spawn(async move {
            loop {
                let next = deliveries.lock().await.next().await;
                let Some(Ok(delivery)) = next else {
                    return anyhow::Ok(());
                };
                let message = outbox::wire::decode("bench.event", &delivery.properties);
                let _event: Event = serde_json::from_slice(&delivery.data)?;
                let mut tx = connection.begin().await?;
                let id = message.message_id.unwrap_or_default();
                three(&mut tx, &id, message.key.as_deref()).await?;
                tx.commit().await?;
                delivery.ack(BasicAckOptions::default()).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let rate = rate(&done, count).await?;
    worked(stack, count).await?;
    Ok(rate)
}

/// The inbox beside the same consumer without it.
pub(crate) async fn dedup(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.size(20_000);
    let mut pairs = Pairs::default();
    for _ in 0..bench.times(5) {
        let stack = waiting(bench, count).await?;
        let ours = handle(&stack, consumer(&stack, WORKERS, 1), count).await?;
        refill(&stack, count).await?;
        pairs.add(ours, bare(&stack, count).await?);
    }
    Ok(vec![pairs.figure("dedup_vs_bare_handler", "messages/s")])
}

async fn insert_many(
    mut ctx: BatchContext,
    events: Vec<Received<Event>>,
) -> Result<(), HandlerError> {
    let column = |text: fn(&Received<Event>) -> Option<&String>| -> Vec<Option<&String>> {
        events.iter().map(text).collect()
    };
    sqlx::query("INSERT INTO work SELECT * FROM unnest($1::text[]::uuid[], $2::text[])")
        .bind(column(|event| event.message().message_id.as_ref()))
        .bind(column(|event| event.message().key.as_ref()))
        .execute(ctx.connection())
        .await?;
    Ok(())
}

async fn insert_one(mut ctx: Context, _: Event) -> Result<(), HandlerError> {
    let (id, key) = (ctx.message().message_id.clone(), ctx.message().key.clone());
    sqlx::query("INSERT INTO work VALUES ($1::text::uuid, $2)")
        .bind(id)
        .bind(key)
        .execute(ctx.connection())
        .await?;
    Ok(())
}

/// A handler of many, and handlers of one that share transactions, beside one by one: four workers,
/// one statement.
pub(crate) async fn batches(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.size(20_000);
    let (mut many, mut together) = <(Pairs, Pairs)>::default();
    for _ in 0..bench.times(5) {
        let stack = waiting(bench, count).await?;
        let single = base(&stack, 4).on::<Event, _, _>(insert_one);
        let single = handle(&stack, single, count).await?;
        refill(&stack, count).await?;
        let batch = base(&stack, 4).on_many::<Event, _, _>(insert_many);
        many.add(handle(&stack, batch, count).await?, single);
        refill(&stack, count).await?;
        let shared = base(&stack, 4).messages_per_transaction(50);
        let shared = shared.on::<Event, _, _>(insert_one);
        together.add(handle(&stack, shared, count).await?, single);
    }
    Ok(vec![
        many.figure("batch_vs_single", "messages/s"),
        together.figure("transparent_batching_vs_single", "messages/s"),
    ])
}

/// Many ids of today beside none.
pub(crate) async fn full(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.size(20_000);
    let ids = bench.size(if bench.full { 10_000_000 } else { 1_000_000 });
    let full = waiting(bench, count).await?;
    remember(&full, ids).await?;
    let empty = waiting(bench, count).await?;
    let mut pairs = Pairs::default();
    for pair in 0..bench.times(5) {
        if pair > 0 {
            refill(&full, count).await?;
            refill(&empty, count).await?;
        }
        let ours = handle(&full, consumer(&full, WORKERS, 1), count).await?;
        pairs.add(
            ours,
            handle(&empty, consumer(&empty, WORKERS, 1), count).await?,
        );
    }
    let name = if bench.full {
        "dedup_10m_vs_empty"
    } else {
        "dedup_1m_vs_empty"
    };
    Ok(vec![pairs.figure(name, "messages/s")])
}

/// Fills the day's leaf.
async fn remember(stack: &Stack, ids: u64) -> anyhow::Result<()> {
    let now = chrono::Utc::now().timestamp_millis();
    // As a UUID version 7 has it: milliseconds, version, random bits (RFC 9562, 5.7).
    let day = now / 86_400_000;
    let sql = format!(
        "INSERT INTO inbox.processed (consumer, message_id, slot)
         SELECT 'bench', (lpad(to_hex({day}::bigint * 86400000 + n % 86400000), 12, '0') || '7'
                          || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid,
                {day} % 64
         FROM generate_series(1, {ids}) AS n"
    );
    let mut owner = stack.database.connect(Login::Owner).await;
    owner.execute(AssertSqlSafe(sql)).await?;
    owner.execute("VACUUM (ANALYZE) inbox.processed").await?;
    Ok(())
}

/// How long the handler's own transaction takes by itself, in milliseconds.
pub(crate) async fn alone(stack: &Stack) -> anyhow::Result<Vec<f64>> {
    let pool = stack.database.pool(Login::Consumer).await;
    let mut times = Vec::new();
    for number in 0..500 {
        let began = Instant::now();
        let mut tx = outbox::transaction::begin(&pool).await?;
        let key = format!("key-{number}");
        three(&mut tx, &Uuid::now_v7().to_string(), Some(&key)).await?;
        tx.commit().await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
