//! Messages to be published, and queues to take them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use lapin::types::{AMQPValue, FieldTable, LongString};
use sqlx::{AssertSqlSafe, Executor as _};
use support::{Login, RelayProcess, Stack, declare, short};

use crate::process;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);

/// Size of most bodies.
pub(crate) const BODY: usize = 256;

/// Writes messages, as producers would have. Without `keys` they have none.
pub(crate) async fn fill(stack: &Stack, count: u64, keys: u64, body: usize) -> anyhow::Result<()> {
    let mut owner = stack.database.connect(Login::Owner).await;
    let key = match keys {
        0 => "NULL".to_owned(),
        _ => format!("'key-' || n % {keys}"),
    };
    // In parts: one enormous transaction is a case of its own.
    let mut written = 0;
    while written < count {
        let part = (count - written).min(100_000);
        let sql = format!(
            "INSERT INTO outbox.message (message_id, topic, key, type, payload)
             SELECT gen_random_uuid(), 'bench.event', {key}, 'bench.event',
                    convert_to(repeat('x', {body}), 'UTF8')
             FROM generate_series({written} + 1, {written} + {part}) AS n"
        );
        owner.execute(AssertSqlSafe(sql)).await?;
        written += part;
    }
    // In autovacuum's place, at the same moment of every repetition.
    let vacuum = "VACUUM (ANALYZE) outbox.message, outbox.checkpoint, outbox.parked";
    owner.execute(vacuum).await?;
    stack
        .database
        .connect(Login::Admin)
        .await
        .execute("CHECKPOINT")
        .await?;
    Ok(())
}

/// Declares a quorum queue for everything.
pub(crate) async fn quorum(stack: &Stack) {
    declare_queue(
        stack,
        "x-queue-type",
        AMQPValue::LongString(LongString::from("quorum")),
    )
    .await;
}

/// Declares a queue that keeps only the newest messages; so few that dropping the others costs a
/// small backlog as much as a large one.
pub(crate) async fn bounded(stack: &Stack) {
    declare_queue(stack, "x-max-length", AMQPValue::LongInt(1_000)).await;
}

async fn declare_queue(stack: &Stack, argument: &str, value: AMQPValue) {
    let (_connection, channel) = stack.broker.channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert(short(argument), value);
    declare(&channel, "bench", "#", arguments).await;
}

/// Empties the queue.
pub(crate) async fn purge(stack: &Stack) -> anyhow::Result<()> {
    let (_connection, channel) = stack.broker.channel().await;
    let options = lapin::options::QueuePurgeOptions::default();
    channel.queue_purge(short("bench"), options).await?;
    Ok(())
}

/// What a relay did in a stretch of messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drained {
    pub(crate) per_second: f64,
    /// Processor time of the relay for each message, in microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) peak_rss_mb: f64,
}

/// Starts a relay and measures while it delivers `count` messages. The first twentieth is left out, in
/// which connections are made, and the last: a relay that has nothing left to do is seen some time later.
pub(crate) async fn drain(stack: &Stack, count: u64) -> anyhow::Result<Drained> {
    let relay = stack.relay().await;
    let drained = between(&relay, count as f64 * 0.05, count as f64 * 0.95).await;
    reached(&relay, count as f64).await?;
    anyhow::ensure!(relay.stop().await.success(), "the relay ended badly");
    drained
}

/// Measures the next `count` messages of a relay that runs and has more to do.
pub(crate) async fn measure(relay: &RelayProcess, count: u64) -> anyhow::Result<Drained> {
    let from = delivered(relay) + count as f64 * 0.05;
    between(relay, from, from + count as f64 * 0.95).await
}

/// Measures from one number of delivered messages to another.
async fn between(relay: &RelayProcess, from: f64, goal: f64) -> anyhow::Result<Drained> {
    let first = reached(relay, from).await?;
    let cpu = process::cpu_seconds(relay.pid())?;
    let last = reached(relay, goal).await?;
    let cpu = process::cpu_seconds(relay.pid())? - cpu;
    let messages = last.0 - first.0;
    Ok(Drained {
        per_second: messages / (last.1 - first.1).as_secs_f64(),
        cpu_us: cpu * 1e6 / messages,
        peak_rss_mb: process::peak_rss_mb(relay.pid())?,
    })
}

async fn reached(relay: &RelayProcess, goal: f64) -> anyhow::Result<(f64, Instant)> {
    let began = Instant::now();
    loop {
        let now = (delivered(relay), Instant::now());
        if now.0 >= goal {
            return Ok(now);
        }
        let late = format!("only {} of {goal} messages were delivered", now.0);
        anyhow::ensure!(began.elapsed() < PATIENCE, late);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn delivered(relay: &RelayProcess) -> f64 {
    relay.metric("postroom_relay_delivered_total")
}

/// Runs with a deadline.
pub(crate) async fn bounded_in_time<T>(
    what: &'static str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .with_context(|| format!("{what}: not within {PATIENCE:?}"))?
}
