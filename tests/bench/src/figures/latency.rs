//! Figures of the time from a commit to the queue.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use lapin::{
    options::{BasicConsumeOptions, BasicPublishOptions},
    types::{FieldTable, ShortString},
};
use outbox::{Message, Outbox};
use postroom_testkit::{Login, Stack, short};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};
use uuid::Uuid;

use crate::{
    Bench, consumer,
    figure::Figure,
    lapin_client,
    load::{quorum_queue, with_deadline},
    pairs::{Pairs, quantile},
};

/// Time without measurement, in which connections and plans are made.
const WARM_UP: Duration = Duration::from_secs(1);

/// Duration of the measurement after the warm-up.
const MEASURED: Duration = Duration::from_secs(3);

/// Times by message id.
pub(crate) type Times = Arc<Mutex<HashMap<Uuid, Instant>>>;

pub(crate) fn record(times: &Times, id: Uuid) {
    if let Ok(mut times) = times.lock() {
        times.entry(id).or_insert_with(Instant::now);
    }
}

/// The outbox and the relay beside a service that publishes inline after its commit: time from the commit
/// until a consumer of the quorum queue has the message.
pub(crate) async fn inline(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for rate in [100, 1_000, 5_000] {
        let (mut middle, mut slow) = <(Pairs, Pairs)>::default();
        for _ in 0..bench.times(5) {
            let ours = one(bench, rate, true).await?;
            let limit = one(bench, rate, false).await?;
            for (pairs, share) in [(&mut middle, 0.5), (&mut slow, 0.99)] {
                let at = |times: &[f64]| quantile(times.iter().copied(), share);
                pairs.add(at(&ours), at(&limit));
            }
        }
        for (name, pairs) in [("p50", middle), ("p99", slow)] {
            let name = format!("commit_to_queue_{name}_vs_inline_{rate}_per_s");
            figures.push(pairs.figure(&name, "ms"));
        }
    }
    Ok(figures)
}

async fn one(bench: &Bench, rate: u32, with_outbox: bool) -> anyhow::Result<Vec<f64>> {
    let stack = bench.servers.stack().await;
    quorum_queue(&stack).await;
    let relay = stack.relay().await;
    let arrivals = Times::default();
    let _listening = listen(&stack, &arrivals).await?;
    let produce = Box::pin(produce(&stack, rate, with_outbox));
    let commits = with_deadline("committing messages", produce).await?;
    all_arrived(&commits, &arrivals).await?;
    drop(relay);
    Ok(between(&commits, &arrivals))
}

/// Waits until every message has arrived: a missing message would be one of the slowest.
pub(super) async fn all_arrived(commits: &Times, arrivals: &Times) -> anyhow::Result<()> {
    with_deadline("waiting for the last messages", async {
        let count = |times: &Times| times.lock().map_or(0, |times| times.len());
        while count(arrivals) < count(commits) {
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    })
    .await
}

/// Returns the milliseconds between the two times of each message, without the warm-up. Messages with only
/// one time are left out.
pub(super) fn between(from: &Times, to: &Times) -> Vec<f64> {
    let (Ok(from), Ok(to)) = (from.lock(), to.lock()) else {
        return Vec::new();
    };
    let Some(first) = from.values().min() else {
        return Vec::new();
    };
    let warm = from.iter().filter(|(_, at)| **at > *first + WARM_UP);
    let times = warm.filter_map(|(id, at)| Some(to.get(id)?.saturating_duration_since(*at)));
    times.map(|time| time.as_secs_f64() * 1e3).collect()
}

/// Consumes the queue with a plain client and records the arrivals.
async fn listen(stack: &Stack, arrivals: &Times) -> anyhow::Result<AbortOnDrop> {
    let (connection, channel) = stack.broker.channel().await;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let name = ShortString::default();
    let deliveries = channel.basic_consume(short("bench"), name, options, FieldTable::default());
    let mut deliveries = deliveries.await?;
    let arrivals = Arc::clone(arrivals);
    let reading = tokio::spawn(async move {
        let _connection = connection;
        while let Some(Ok(delivery)) = deliveries.next().await {
            let id = delivery.properties.message_id().as_ref();
            if let Some(id) = id.and_then(|id| Uuid::try_parse(id.as_str()).ok()) {
                record(&arrivals, id);
            }
        }
    });
    Ok(AbortOnDrop(reading.abort_handle()))
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Commits messages at a fixed rate, independent of earlier ones, and returns the time of each commit.
pub(super) async fn produce(stack: &Stack, rate: u32, with_outbox: bool) -> anyhow::Result<Times> {
    let commits = Times::default();
    stack
        .database
        .ddl("CREATE TABLE bare (id uuid PRIMARY KEY, payload bytea)")
        .await;
    let pool = stack.database.pool(Login::Producer).await;
    let connection = stack.broker.connect().await;
    let channel = lapin_client::confirming(&connection).await?;
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let body = consumer::body()?;
    let mut tasks = JoinSet::new();
    let count = rate * (WARM_UP + MEASURED).as_secs() as u32;
    for number in 0..count {
        ticks.tick().await;
        let (pool, channel, commits) = (pool.clone(), channel.clone(), Arc::clone(&commits));
        let body = body.clone();
        tasks.spawn(async move {
            let id = Uuid::now_v7();
            let key = format!("key-{}", number % 1_000);
            let mut tx = outbox::transaction::begin(&pool).await?;
            if with_outbox {
                let message = Message::bytes("bench.event", "application/json", body)?;
                Outbox::new()
                    .publish(&mut tx, message.key(key)?.id(id))
                    .await?;
                tx.commit().await?;
                record(&commits, id);
                return anyhow::Ok(());
            }
            sqlx::query("INSERT INTO bare VALUES ($1, $2)")
                .bind(id)
                .bind(&body)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            record(&commits, id);
            let properties = lapin_client::properties(id, Some(&key), "bench.event");
            let options = BasicPublishOptions::default();
            let (exchange, topic) = (short("postroom"), short("bench.event"));
            let publish = channel.basic_publish(exchange, topic, options, &body, properties);
            publish.await?.await?;
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(commits)
}
