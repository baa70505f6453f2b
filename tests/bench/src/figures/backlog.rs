//! Figures that show that the cost of a message is independent of the backlog and of open transactions.

use std::time::Duration;

use postroom_testkit::{Login, Stack};
use sqlx::Executor as _;
use tokio::time::sleep;

use crate::{
    Bench,
    figure::Figure,
    load::{
        BODY, Throughput, bounded_queue, delivered, fill, measure, publish_backlog, quorum_queue,
    },
    pairs::Pairs,
    process,
};

/// Target for the relay's peak memory, in MiB.
const MEMORY: f64 = 100.0;

/// Throughput out of a large backlog, beside backlogs of the size of one window.
pub(crate) async fn backlog(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let window = bench.size(100_000);
    let many = window * if bench.full { 100 } else { 10 };
    let large = bench.servers.stack().await;
    bounded_queue(&large).await;
    fill(&large, many, 1_000, BODY).await?;
    let relay = large.relay().await;
    // The first rows are published while connections are opened; the whole backlog is behind them.
    let first = measure(&relay, window / 2).await?;
    relay.signal("STOP");
    let mut pairs = Pairs::default();
    let mut peak = first.peak_rss_mb;
    for _ in 0..bench.times(5) {
        relay.signal("CONT");
        let ours = measure(&relay, window).await?;
        peak = ours.peak_rss_mb;
        relay.signal("STOP");
        pairs.add(ours.per_second, fresh(bench, window).await?.per_second);
    }
    relay.signal("CONT");
    relay.kill().await;
    let name = if bench.full {
        "backlog_10m_vs_100k"
    } else {
        "backlog_1m_vs_100k"
    };
    Ok(vec![
        pairs.figure(name, "messages/s"),
        Figure::single("relay_peak_rss_mb", peak, MEMORY, "MiB"),
    ])
}

async fn fresh(bench: &Bench, count: u64) -> anyhow::Result<Throughput> {
    let stack = bench.servers.stack().await;
    bounded_queue(&stack).await;
    fill(&stack, count, 1_000, BODY).await?;
    publish_backlog(&stack, count).await
}

/// Peak memory with a thousand bodies of 1 MiB.
pub(crate) async fn large_bodies(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let stack = bench.servers.stack().await;
    quorum_queue(&stack).await;
    fill(&stack, bench.size(1_000), 100, 1 << 20).await?;
    let measured = publish_backlog(&stack, bench.size(1_000)).await?;
    let peak = measured.peak_rss_mb;
    Ok(vec![Figure::single(
        "relay_peak_rss_mb_large_bodies",
        peak,
        MEMORY,
        "MiB",
    )])
}

/// Throughput with one writer and one reader open throughout, beside a server without them, after many
/// messages.
pub(crate) async fn pinned(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let before = bench.size(1_000_000);
    let window = bench.size(100_000);
    let free = bench.servers.stack().await;
    // The stack is dropped before its server.
    let (held, _server) = bench.servers.separate().await;
    let mut writer = held.database.connect(Login::Owner).await;
    writer
        .execute("BEGIN; INSERT INTO outbox.message (message_id, topic, type, payload) VALUES (gen_random_uuid(), 't', 't', 'x')")
        .await?;
    let mut reader = held.database.connect(Login::Owner).await;
    reader
        .execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM outbox.message")
        .await?;
    for stack in [&held, &free] {
        bounded_queue(stack).await;
        fill(stack, before, 1_000, BODY).await?;
        publish_backlog(stack, before).await?;
    }
    let mut pairs = Pairs::default();
    for _ in 0..bench.times(5) {
        let ours = again(&held, window).await?;
        pairs.add(ours, again(&free, window).await?);
    }
    let polls = [idle_cpu(&held).await?, idle_cpu(&free).await?];
    writer.execute("ROLLBACK").await?;
    reader.execute("ROLLBACK").await?;
    Ok(vec![
        pairs.figure("pinned_vs_unpinned", "messages/s"),
        Figure::single(
            "pinned_idle_cpu_vs_unpinned",
            polls[0],
            polls[1],
            "% of a core",
        ),
    ])
}

async fn again(stack: &Stack, count: u64) -> anyhow::Result<f64> {
    fill(stack, count, 1_000, BODY).await?;
    Ok(publish_backlog(stack, count).await?.per_second)
}

/// Returns the cost of polling: processor time of the reader's session on an idle outbox, in percent of a
/// core.
async fn idle_cpu(stack: &Stack) -> anyhow::Result<f64> {
    let relay = stack.relay().await;
    let owner = stack.database.pool(Login::Admin).await;
    let reader: i32 = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'postroom-relay reader'",
    )
    .fetch_one(&owner)
    .await?;
    let pid = reader as u32;
    let (seconds, cpu) = (5.0, process::cpu_seconds(pid)?);
    sleep(Duration::from_secs_f64(seconds)).await;
    let used = (process::cpu_seconds(pid)? - cpu).max(0.005);
    debug_assert!(delivered(&relay) < 2.0);
    Ok(used / seconds * 100.0)
}
