//! Figures of the ring's upkeep: its effect on producers while segments are begun and emptied.

use std::time::{Duration, Instant};

use outbox::{Message, Outbox};
use postroom_testkit::Login;
use sqlx::Connection as _;
use tokio::task::JoinSet;

use crate::{
    Bench,
    figure::Figure,
    load::{BODY, quorum_queue},
    pairs::Pairs,
};

/// Settings with far more frequent upkeep than anyone needs.
const FREQUENT_UPKEEP: &[(&str, &str)] = &[
    ("POSTROOM_RETENTION_KEEP", "1s"),
    ("POSTROOM_RETENTION_SEGMENT_ROWS", "1000"),
    ("POSTROOM_RETENTION_CHECK_INTERVAL", "200ms"),
];

/// Duration of each run.
const DURATION: Duration = Duration::from_secs(6);

/// The slowest publishing transaction while segments are begun and emptied all the time, beside a relay
/// that does neither.
pub(crate) async fn upkeep(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut pairs = Pairs::default();
    for _ in 0..bench.times(5) {
        let ours = slowest(bench, FREQUENT_UPKEEP).await?;
        pairs.add(ours, slowest(bench, &[]).await?);
    }
    let name = "slowest_publish_with_rotation_and_expiry_vs_without";
    Ok(vec![pairs.figure(name, "ms")])
}

async fn slowest(bench: &Bench, retention: &[(&str, &str)]) -> anyhow::Result<f64> {
    let stack = bench.servers.stack().await;
    quorum_queue(&stack).await;
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

/// Publishes one message after another, and returns the longest duration in milliseconds.
async fn write(mut connection: sqlx::PgConnection) -> anyhow::Result<f64> {
    let mut slowest: f64 = 0.0;
    let began = Instant::now();
    while began.elapsed() < DURATION {
        let message = Message::bytes("bench.event", "application/json", vec![b'x'; BODY])?;
        let started = Instant::now();
        let mut tx = connection.begin().await?;
        Outbox::new().publish(&mut tx, message).await?;
        tx.commit().await?;
        slowest = slowest.max(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(slowest)
}
