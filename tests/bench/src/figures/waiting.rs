//! Figures of those who wait: a thousand waits beside a consumer, and requests with their replies.

use std::time::{Duration, Instant};

use inbox::{Consumer, Context, HandlerError};
use outbox::{MessageId, Outbox, ReplyTo};
use postroom_testkit::{Login, Stack};
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

use super::consume::{WORKERS, handle, refill, waiting};
use crate::{
    Bench,
    consumer::{TABLES, base, consumer},
    figure::Figure,
    load::with_deadline,
    pairs::{Pairs, quantile},
};

/// Longest wait for anything.
const LONGEST: Duration = Duration::from_mins(5);

/// The inbox while a thousand requests wait for messages that never come, beside the inbox alone.
pub(crate) async fn waits(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.size(20_000);
    let mut pairs = Pairs::default();
    for _ in 0..bench.times(5) {
        let stack = waiting(bench, count).await?;
        let alone = handle(&stack, consumer(&stack, WORKERS, 1), count).await?;
        refill(&stack, count).await?;
        let pool = stack.database.pool(Login::Consumer).await;
        let waiter = inbox::Waiter::new(pool, "bench", ["#"]);
        let waits = (0..1_000).map(|_| {
            let waiter = waiter.clone();
            AbortOnDropHandle::new(tokio::spawn(async move {
                waiter.wait_for(MessageId::new(), LONGEST).await
            }))
        });
        let waits: Vec<_> = waits.collect();
        let ours = handle(&stack, consumer(&stack, WORKERS, 1), count).await?;
        drop(waits);
        pairs.add(ours, alone);
    }
    Ok(vec![pairs.figure("wait_for_1000", "messages/s")])
}

#[derive(Debug, Serialize, Deserialize)]
struct Ask(u64);

impl outbox::Event for Ask {
    const TOPIC: &'static str = "bench.ask";

    fn key(&self) -> Option<String> {
        None
    }
}

async fn answer(mut ctx: Context, ask: Ask) -> Result<(), HandlerError> {
    ctx.reply(&ask).await?;
    Ok(())
}

async fn nothing(_: Context, _: Ask) -> Result<(), HandlerError> {
    Ok(())
}

/// Requests one after another until their replies are there, beside messages that are published and waited for until
/// they are handled.
pub(crate) async fn requests(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut middle, mut slow) = <(Pairs, Pairs)>::default();
    for _ in 0..bench.times(5) {
        let stack = bench.servers.stack().await;
        stack.database.ddl(TABLES).await;
        let relay = stack.relay().await;
        let replied = replied(&stack).await?;
        let handled = handled(&stack).await?;
        drop(relay);
        for (pairs, share) in [(&mut middle, 0.5), (&mut slow, 0.99)] {
            let at = |times: &[f64]| quantile(times.iter().copied(), share);
            pairs.add(at(&replied), at(&handled));
        }
    }
    Ok(vec![
        middle.figure("request_reply_p50", "ms"),
        slow.figure("request_reply_p99", "ms"),
    ])
}

const ASKED: u64 = 300;

async fn replied(stack: &Stack) -> anyhow::Result<Vec<f64>> {
    let named = |name: &str| {
        let builder = Consumer::builder(name).amqp_url(stack.broker.url());
        async move {
            builder
                .database(stack.database.pool(Login::Consumer).await)
                .workers(2)
        }
    };
    let asked = named("asked").await.on_command(answer).build()?;
    let asking = named("asking").await.keep_replies(LONGEST).build()?;
    let replies = asking.replies();
    let _running = (running(asked).await, running(asking).await);
    let pool = stack.database.pool(Login::Consumer).await;
    let reply_to = ReplyTo::new("asking", LONGEST);
    times(async |n| {
        let mut tx = outbox::transaction::begin(&pool).await?;
        let outbox = Outbox::new();
        let request = outbox.request(&mut tx, "asked", &Ask(n), &reply_to).await?;
        tx.commit().await?;
        let began = Instant::now();
        replies.wait::<Ask>(request, LONGEST).await?;
        Ok(began)
    })
    .await
}

async fn handled(stack: &Stack) -> anyhow::Result<Vec<f64>> {
    let consumer = base(stack, 2).on(nothing).build()?;
    let waiter = consumer.waiter();
    let _running = running(consumer).await;
    let pool = stack.database.pool(Login::Consumer).await;
    times(async |n| {
        let mut tx = outbox::transaction::begin(&pool).await?;
        let id = Outbox::new().publish(&mut tx, &Ask(n)).await?;
        tx.commit().await?;
        let began = Instant::now();
        waiter.wait_for(id, LONGEST).await?;
        Ok(began)
    })
    .await
}

async fn running(consumer: Consumer) -> AbortOnDropHandle<Result<(), inbox::RunError>> {
    let status = consumer.status();
    let task = AbortOnDropHandle::new(tokio::spawn(consumer.run(std::future::pending())));
    status.ready().await;
    task
}

/// Returns the milliseconds of each round since the time that it returns, without the first tenth.
async fn times(round: impl AsyncFn(u64) -> anyhow::Result<Instant>) -> anyhow::Result<Vec<f64>> {
    with_deadline("waiting for messages", async {
        let mut times = Vec::new();
        for n in 0..ASKED {
            let began = round(n).await?;
            if n >= ASKED / 10 {
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        Ok(times)
    })
    .await
}
