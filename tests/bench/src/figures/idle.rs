//! Figures of the relay's load on the database.

use std::time::{Duration, Instant};

use postroom_testkit::{Login, Stack};
use tokio::time::sleep;

use crate::{
    Bench,
    figure::Figure,
    load::{BODY, fill, publish_backlog, quorum_queue},
    process,
};

/// Duration of the idle measurement.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Targets for an idle relay: statements per second, and percent of a core.
const IDLE_LIMITS: (f64, f64) = (25.0, 1.0);

/// Load of an idle relay.
pub(crate) async fn idle(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let stack = bench.servers.stack().await;
    quorum_queue(&stack).await;
    let relay = stack.relay().await;
    sleep(Duration::from_secs(2)).await;
    let (before, cpu) = (
        transactions(&stack).await?,
        process::cpu_seconds(relay.pid())?,
    );
    let began = Instant::now();
    sleep(IDLE_TIME).await;
    let (after, used) = (
        transactions(&stack).await?,
        process::cpu_seconds(relay.pid())? - cpu,
    );
    let seconds = began.elapsed().as_secs_f64();
    // Each statement of an idle relay is a transaction; one of the counted transactions is this program's.
    let queries = (after - before - 1) as f64 / seconds;
    let percent = used / seconds * 100.0;
    Ok(vec![
        Figure::single("idle_queries_per_s", queries, IDLE_LIMITS.0, "1/s"),
        Figure::single("idle_cpu_percent", percent, IDLE_LIMITS.1, "% of a core"),
    ])
}

/// Write-ahead log and commits of the relay for each message.
pub(crate) async fn share(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.size(100_000);
    let stack = bench.servers.stack().await;
    quorum_queue(&stack).await;
    let empty = (wal(&stack).await?, commits(&stack).await?);
    fill(&stack, count, 1_000, BODY).await?;
    let filled = (wal(&stack).await?, commits(&stack).await?);
    publish_backlog(&stack, count).await?;
    let drained = (wal(&stack).await?, commits(&stack).await?);
    let per = |from: i64, to: i64| (to - from) as f64 / count as f64;
    Ok(vec![
        // The limit is the log that the messages themselves wrote.
        Figure::single(
            "wal_bytes_per_message",
            per(filled.0, drained.0),
            per(empty.0, filled.0),
            "bytes",
        ),
        Figure::single(
            "commits_per_message",
            per(filled.1, drained.1),
            1.0,
            "commits",
        ),
    ])
}

async fn wal(stack: &Stack) -> anyhow::Result<i64> {
    let admin = stack.database.pool(Login::Admin).await;
    let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
    Ok(sqlx::query_scalar(sql).fetch_one(&admin).await?)
}

/// Returns the number of transactions with an id, which are those that wrote.
async fn commits(stack: &Stack) -> anyhow::Result<i64> {
    let admin = stack.database.pool(Login::Admin).await;
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    Ok(sqlx::query_scalar(sql).fetch_one(&admin).await?)
}

async fn transactions(stack: &Stack) -> anyhow::Result<i64> {
    let admin = stack.database.pool(Login::Admin).await;
    // Sessions report a finished transaction within about a second.
    sleep(Duration::from_secs(1)).await;
    let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    Ok(sqlx::query_scalar(sql).fetch_one(&admin).await?)
}
