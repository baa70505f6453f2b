//! Figures of the inbox: its cost beside a bare handler, and the gain of batches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use inbox::{
    BatchContext, ConsumerBuilder, Context, HandlerError, Received, Remember,
    extract::{Id, State},
};
use postroom_testkit::{Login, Stack};
use sqlx::{AssertSqlSafe, Executor as _};
use uuid::Uuid;

use crate::{
    Bench,
    bare::Bare,
    consumer::{Event, HANDLED, Running, TABLES, base, body, consumer, run_three_statements},
    figure::Figure,
    lapin_client,
    load::with_deadline,
    pairs::Pairs,
};

pub(crate) const WORKERS: usize = 16;

/// Makes a stack with `count` messages in the queue of a stopped consumer.
pub(super) async fn waiting(bench: &Bench, count: u64) -> anyhow::Result<Stack> {
    let stack = bench.servers.stack().await;
    stack.database.ddl(TABLES).await;
    let declares = consumer(&stack, 1, 1).build()?;
    Running::start(&stack, declares).await?.stop().await?;
    refill(&stack, count).await?;
    Ok(stack)
}

pub(super) async fn refill(stack: &Stack, count: u64) -> anyhow::Result<()> {
    let body = body()?;
    lapin_client::publish(stack, "bench.event", count, 1_000, &body).await?;
    Ok(())
}

/// Handles the waiting messages and returns the number per second. The first tenth is not measured.
pub(super) async fn handle<S>(
    stack: &Stack,
    builder: ConsumerBuilder<S>,
    count: u64,
) -> anyhow::Result<f64> {
    HANDLED.store(0, Ordering::Relaxed);
    let running = Running::start(stack, builder.build()?).await?;
    let rate = rate(&HANDLED, count).await?;
    running.stop().await?;
    check_effects(stack, count).await?;
    Ok(rate)
}

/// Checks that every message had its effect, without which the speed means nothing. Empties the table for
/// the next run.
pub(super) async fn check_effects(stack: &Stack, count: u64) -> anyhow::Result<()> {
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

pub(super) async fn rate(done: &AtomicU64, count: u64) -> anyhow::Result<f64> {
    with_deadline("handling messages", async {
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

/// Handles the messages with a bare consumer that runs the same statements.
async fn bare(stack: &Stack, count: u64) -> anyhow::Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&done);
    let count_handled = move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let _consuming = Bare::start(stack, WORKERS, count_handled).await?;
    let rate = rate(&done, count).await?;
    check_effects(stack, count).await?;
    Ok(rate)
}

/// The inbox beside the bare consumer.
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

/// A handler that takes a state and a property of the message, beside a closure that has captured the state.
pub(crate) async fn with_state(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    async fn handler(
        mut ctx: Context,
        State(handled): State<&'static AtomicU64>,
        Id(id): Id,
        _: Event,
    ) -> Result<(), HandlerError> {
        let key = ctx.message().key.clone();
        run_three_statements(ctx.connection(), &id, key.as_deref()).await?;
        handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    let count = bench.size(20_000);
    let mut pairs = Pairs::default();
    for _ in 0..bench.times(5) {
        let stack = waiting(bench, count).await?;
        let state = base(&stack, WORKERS).with_state(&HANDLED);
        let ours = handle(&stack, state.on(handler), count).await?;
        refill(&stack, count).await?;
        let closure = handle(&stack, consumer(&stack, WORKERS, 1), count).await?;
        pairs.add(ours, closure);
    }
    Ok(vec![
        pairs.figure("handler_with_state_vs_closure", "messages/s"),
    ])
}

/// A consumer that records an idempotency key of each message beside one that knows the ids alone.
pub(crate) async fn keyed(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    static ORDERS: AtomicU64 = AtomicU64::new(0);
    let count = bench.size(20_000);
    let mut pairs = Pairs::default();
    for _ in 0..bench.times(5) {
        let stack = waiting(bench, count).await?;
        // All bodies are equal, and each message is an order of its own.
        let order = |_: &Event| format!("order-{}", ORDERS.fetch_add(1, Ordering::Relaxed));
        let keyed = consumer(&stack, WORKERS, 1).idempotency_key(Remember::Forever, order);
        let ours = handle(&stack, keyed, count).await?;
        refill(&stack, count).await?;
        let ids = handle(&stack, consumer(&stack, WORKERS, 1), count).await?;
        pairs.add(ours, ids);
    }
    Ok(vec![pairs.figure("idempotency_key_vs_id", "messages/s")])
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
    HANDLED.fetch_add(events.len() as u64, Ordering::Relaxed);
    Ok(())
}

async fn insert_one(mut ctx: Context, _: Event) -> Result<(), HandlerError> {
    let (id, key) = (ctx.message().message_id.clone(), ctx.message().key.clone());
    sqlx::query("INSERT INTO work VALUES ($1::text::uuid, $2)")
        .bind(id)
        .bind(key)
        .execute(ctx.connection())
        .await?;
    HANDLED.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// A handler of batches, and single handlers that share transactions, beside single handlers with their own
/// transactions: four workers, one statement.
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

/// A dedup table with many ids of today beside an empty one.
pub(crate) async fn full(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.size(20_000);
    let ids = bench.size(if bench.full { 10_000_000 } else { 1_000_000 });
    let full = waiting(bench, count).await?;
    fill_processed(&full, ids).await?;
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

/// Fills the leaf of today with ids.
async fn fill_processed(stack: &Stack, ids: u64) -> anyhow::Result<()> {
    let now = chrono::Utc::now().timestamp_millis();
    // Layout of a UUID version 7: milliseconds, version, random bits (RFC 9562, 5.7).
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

/// Returns the durations of the handler's transaction alone, in milliseconds.
pub(crate) async fn alone(stack: &Stack) -> anyhow::Result<Vec<f64>> {
    let pool = stack.database.pool(Login::Consumer).await;
    let mut times = Vec::new();
    for number in 0..500 {
        let began = Instant::now();
        let mut tx = outbox::transaction::begin(&pool).await?;
        let key = format!("key-{number}");
        run_three_statements(&mut tx, &Uuid::now_v7().to_string(), Some(&key)).await?;
        tx.commit().await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}
