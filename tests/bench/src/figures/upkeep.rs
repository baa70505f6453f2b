//! What producers notice of the ring of leaves: one is left for the next, and old ones are emptied.

use std::time::{Duration, Instant};

use outbox::{Message, Outbox};
use sqlx::Connection as _;
use support::Login;
use tokio::task::JoinSet;

use crate::{
    Bench,
    figure::Figure,
    load::{BODY, quorum},
    pairs::Pairs,
};

/// Many times as often as anybody would want it.
const OFTEN: &[(&str, &str)] = &[
    ("POSTROOM_RETENTION_KEEP", "1s"),
    ("POSTROOM_RETENTION_SEGMENT_ROWS", "1000"),
    ("POSTROOM_RETENTION_CHECK_INTERVAL", "200ms"),
];

/// How long producers write.
const STRETCH: Duration = Duration::from_secs(6);

/// The slowest of all transactions that publish, while leaves are left and emptied all the time,
/// beside a relay that does neither.
pub(crate) async fn upkeep(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut pairs = Pairs::default();
    for _ in 0..bench.times(5) {
        let ours = slowest(bench, OFTEN).await?;
        pairs.add(ours, slowest(bench, &[]).await?);
    }
    let name = "slowest_publish_with_rotation_and_expiry_vs_without";
    Ok(vec![pairs.figure(name, "ms")])
}

async fn slowest(bench: &Bench, retention: &[(&str, &str)]) -> anyhow::Result<f64> {
    let stack = bench.servers.stack().await;
    quorum(&stack).await;
    let relay = stack.relay_with(retention).await;
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        writers.spawn(write(stack.database.connect(Login::Producer).await));
    }
    let mut slowest: f64 = 0.0;
    while let Some(written) = writers.join_next().await {
        slowest = slowest.max(written??);
    }
    if !retention.is_empty() {
        let expired = relay.metric("postroom_relay_expired_segments_total");
        anyhow::ensure!(expired >= 5.0, "only {expired} leaves were emptied");
    }
    drop(relay);
    Ok(slowest)
}

/// Publishes one message after another, and returns the longest time in milliseconds.
async fn write(mut connection: sqlx::PgConnection) -> anyhow::Result<f64> {
    let mut slowest: f64 = 0.0;
    let began = Instant::now();
    while began.elapsed() < STRETCH {
        let message = Message::bytes("bench.event", "application/json", vec![b'x'; BODY])?;
        let started = Instant::now();
        let mut tx = connection.begin().await?;
        Outbox::new().publish(&mut tx, message).await?;
        tx.commit().await?;
        slowest = slowest.max(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(slowest)
}
