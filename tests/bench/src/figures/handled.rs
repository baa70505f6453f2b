//! Figures of the time from a commit to the end of the handler.

use std::sync::Arc;

use postroom_testkit::Stack;
use uuid::Uuid;

use super::{
    consume::{self, WORKERS},
    latency::{Times, all_arrived, between, produce, record},
};
use crate::{
    Bench,
    bare::Bare,
    consumer::{self, Running},
    figure::Figure,
    handled_events::Recording,
    load::with_deadline,
    pairs::{Pairs, quantile},
};

const PER_SECOND: u32 = 1_000;

/// The whole way through outbox, relay, broker, inbox and handler, beside services that publish inline
/// after the commit and handle without an inbox; and beside the handler's transaction alone.
pub(crate) async fn handled(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut middle, mut slow, mut alone) = <(Pairs, Pairs, Pairs)>::default();
    for _ in 0..bench.times(5) {
        let stack = with_queue(bench).await?;
        let ours = with_postroom(&stack).await?;
        let own = consume::alone(&stack).await?;
        let limit = without(&with_queue(bench).await?).await?;
        let at = |times: &[f64], share| quantile(times.iter().copied(), share);
        middle.add(at(&ours, 0.5), at(&limit, 0.5));
        slow.add(at(&ours, 0.99), at(&limit, 0.99));
        alone.add(at(&ours, 0.99), at(&own, 0.99));
    }
    Ok(vec![
        middle.figure("commit_to_handled_p50_vs_bare", "ms"),
        slow.figure("commit_to_handled_p99_vs_bare", "ms"),
        alone.figure("commit_to_handled_p99_ms", "ms"),
    ])
}

/// Makes a stack with the tables and the queue of a stopped consumer.
async fn with_queue(bench: &Bench) -> anyhow::Result<Stack> {
    let stack = bench.servers.stack().await;
    stack.database.ddl(consumer::TABLES).await;
    let declares = consumer::consumer(&stack, 1, 1).build()?;
    Running::start(&stack, declares).await?.stop().await?;
    Ok(stack)
}

async fn with_postroom(stack: &Stack) -> anyhow::Result<Vec<f64>> {
    let relay = stack.relay().await;
    let ends = Times::default();
    let _recording = Recording::start(Arc::clone(&ends));
    let consumer = consumer::consumer(stack, WORKERS, 1).build()?;
    let running = Running::start(stack, consumer).await?;
    let times = committed_until(stack, true, &ends).await?;
    running.stop().await?;
    drop(relay);
    Ok(times)
}

async fn without(stack: &Stack) -> anyhow::Result<Vec<f64>> {
    let ends = Times::default();
    let end_times = Arc::clone(&ends);
    let record_end = move |id: String| {
        if let Ok(id) = Uuid::try_parse(&id) {
            record(&end_times, id);
        }
    };
    let _consuming = Bare::start(stack, WORKERS, record_end).await?;
    committed_until(stack, false, &ends).await
}

/// Commits messages, and returns the milliseconds from each commit to the end of the handler.
async fn committed_until(
    stack: &Stack,
    with_outbox: bool,
    ends: &Times,
) -> anyhow::Result<Vec<f64>> {
    let produce = Box::pin(produce(stack, PER_SECOND, with_outbox));
    let commits = with_deadline("committing messages", produce).await?;
    all_arrived(&commits, ends).await?;
    Ok(between(&commits, ends))
}
