//! Backlogs of messages, queues, and the measurement of a relay.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use lapin::types::{AMQPValue, FieldTable, LongString};
use postroom_testkit::{Login, RelayProcess, Stack, declare, short};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::process;

/// Longest wait for any step.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Size of most bodies, in bytes.
pub(crate) const BODY: usize = 256;

/// Writes `count` messages as producers would. `keys` is the number of distinct keys; 0 for messages
/// without a key.
pub(crate) async fn fill(stack: &Stack, count: u64, keys: u64, body: usize) -> anyhow::Result<()> {
    let mut owner = stack.database.connect(Login::Owner).await;
    let key = match keys {
        0 => "NULL".to_owned(),
        _ => format!("'key-' || n % {keys}"),
    };
    // In several transactions, because a huge transaction is another case.
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
    // Replaces autovacuum, so that it runs at the same point of every repetition.
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

/// Declares a quorum queue that takes all topics.
pub(crate) async fn quorum_queue(stack: &Stack) {
    declare_queue(
        stack,
        "x-queue-type",
        AMQPValue::LongString(LongString::from("quorum")),
    )
    .await;
}

/// Declares a queue that keeps only the newest messages, so few that dropping the others costs a small
/// backlog as much as a large one.
pub(crate) async fn bounded_queue(stack: &Stack) {
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

/// Measurement of a relay while it delivered messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Throughput {
    pub(crate) per_second: f64,
    /// Processor time of the relay for each message, in microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) peak_rss_mb: f64,
}

/// Starts a relay and measures it while it delivers `count` messages. The first twentieth is left out,
/// because connections are opened, and the last twentieth, because the end is noticed late.
pub(crate) async fn publish_backlog(stack: &Stack, count: u64) -> anyhow::Result<Throughput> {
    let relay = stack.relay().await;
    let measured = between(&relay, count as f64 * 0.05, count as f64 * 0.95).await;
    reached(&relay, count as f64).await?;
    anyhow::ensure!(relay.stop().await.success(), "the relay ended badly");
    measured
}

/// Measures a running relay while it delivers `count` messages of a larger backlog.
pub(crate) async fn measure(relay: &RelayProcess, count: u64) -> anyhow::Result<Throughput> {
    let from = delivered(relay) + count as f64 * 0.05;
    between(relay, from, from + count as f64 * 0.95).await
}

/// Measures a relay between two numbers of delivered messages.
async fn between(relay: &RelayProcess, from: f64, goal: f64) -> anyhow::Result<Throughput> {
    let first = reached(relay, from).await?;
    let cpu = process::cpu_seconds(relay.pid())?;
    let last = reached(relay, goal).await?;
    let cpu = process::cpu_seconds(relay.pid())? - cpu;
    let messages = last.0 - first.0;
    Ok(Throughput {
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
        anyhow::ensure!(began.elapsed() < TIMEOUT, late);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn delivered(relay: &RelayProcess) -> f64 {
    relay.metric("postroom_relay_delivered_total")
}

/// Runs `work` with a deadline.
pub(crate) async fn with_deadline<T>(
    what: &'static str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::time::timeout(TIMEOUT, work)
        .await
        .with_context(|| format!("{what}: not within {TIMEOUT:?}"))?
}
