//! Four processes of a consumer with partitions beside one.

use std::{sync::atomic::Ordering, time::Duration};

use inbox::{Consumer, Context, HandlerError};
use postroom_testkit::{Login, Stack};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::consume::{check_effects, rate, refill};
use crate::{
    Bench,
    consumer::{Event, HANDLED, TABLES, base},
    figure::Figure,
    pairs::Pairs,
};

const PARTITIONS: u8 = 4;

/// Workers of each process.
const WORKERS: usize = 4;

/// Time for which each handler waits, as for another service.
const WAIT: Duration = Duration::from_millis(10);

async fn wait(mut ctx: Context, _: Event) -> Result<(), HandlerError> {
    let (id, key) = (ctx.message().message_id.clone(), ctx.message().key.clone());
    sleep(WAIT).await;
    sqlx::query("INSERT INTO work VALUES ($1::text::uuid, $2)")
        .bind(id)
        .bind(key)
        .execute(ctx.connection())
        .await?;
    HANDLED.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn process(stack: &Stack) -> Result<Consumer, inbox::BuildError> {
    let builder = base(stack, WORKERS).partitions(PARTITIONS);
    builder.on::<Event, _, _>(wait).build()
}

/// Processes that run. Here each is a consumer with a pool and connections of its own in this process, since the handlers
/// only wait.
struct Processes {
    stop: CancellationToken,
    running: JoinSet<Result<(), inbox::RunError>>,
}

impl Processes {
    /// Starts processes, and waits until they share the partitions.
    async fn start(stack: &Stack, number: usize) -> anyhow::Result<Self> {
        let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
        for _ in 0..number {
            let stopped = stop.clone().cancelled_owned();
            running.spawn(process(stack)?.run(stopped));
        }
        let pool = stack.database.pool(Login::Consumer).await;
        postroom_testkit::eventually("the processes share the partitions", async || {
            let readers: Result<i64, _> = sqlx::query_scalar(
                "SELECT count(DISTINCT pid) FROM pg_locks
                 WHERE locktype = 'advisory' AND objid::bigint >> 24 = 2",
            )
            .fetch_one(&pool)
            .await;
            readers.is_ok_and(|readers| readers == number as i64)
        })
        .await;
        Ok(Self { stop, running })
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Handles `count` messages that arrive while the processes run; returns the number per second.
async fn handle(stack: &Stack, number: usize, count: u64) -> anyhow::Result<f64> {
    let processes = Processes::start(stack, number).await?;
    HANDLED.store(0, Ordering::Relaxed);
    refill(stack, count).await?;
    let rate = rate(&HANDLED, count).await?;
    processes.stop().await?;
    check_effects(stack, count).await?;
    Ok(rate)
}

/// Four processes beside one.
pub(crate) async fn partitions(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.size(4_000);
    let stack = bench.servers.stack().await;
    stack.database.ddl(TABLES).await;
    let mut pairs = Pairs::default();
    for _ in 0..bench.times(5) {
        let four = handle(&stack, 4, count).await?;
        pairs.add(four, handle(&stack, 1, count).await?);
    }
    Ok(vec![pairs.figure("partitions_4_vs_1", "messages/s")])
}
