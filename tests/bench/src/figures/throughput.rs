//! Figures of the relay's throughput.

use crate::{
    Bench,
    cpu_split::CpuSplit,
    figure::Figure,
    frames, lapin_client,
    load::{BODY, fill, publish_backlog, purge, quorum_queue},
    pairs::Pairs,
};

const TOPIC: &str = "bench.event";

/// The relay beside lapin alone and beside raw frames: 1,000 keys, a quorum queue.
pub(crate) async fn relay(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (client, broker, cpu) = beside_clients(bench).await?;
    Ok(vec![
        client.figure("drain_vs_lapin", "messages/s"),
        broker.figure("drain_vs_broker", "messages/s"),
        cpu.figure("relay_cpu_us_per_message", "us"),
    ])
}

/// The same figures with processors reserved for the broker, as on a separate machine.
pub(crate) async fn split(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let _split = CpuSplit::new(&bench.servers.rabbitmq)?;
    let (client, broker, _) = beside_clients(bench).await?;
    Ok(vec![
        client.figure("drain_vs_lapin_apart", "messages/s"),
        broker.figure("drain_vs_broker_apart", "messages/s"),
    ])
}

async fn beside_clients(bench: &Bench) -> anyhow::Result<(Pairs, Pairs, Pairs)> {
    let count = bench.size(200_000);
    let body = [b'x'; BODY];
    let (mut client, mut broker, mut cpu) = <(Pairs, Pairs, Pairs)>::default();
    for _ in 0..bench.times(5) {
        let stack = bench.servers.stack().await;
        quorum_queue(&stack).await;
        fill(&stack, count, 1_000, BODY).await?;
        let ours = publish_backlog(&stack, count).await?;
        purge(&stack).await?;
        let lapin = lapin_client::publish(&stack, TOPIC, count, 1_000, &body).await?;
        purge(&stack).await?;
        let url = stack.broker.url();
        let raw =
            tokio::task::spawn_blocking(move || frames::publish(&url, TOPIC, count, 1_000, &body));
        let raw = raw.await??;
        client.add(ours.per_second, lapin.per_second);
        broker.add(ours.per_second, raw);
        cpu.add(ours.cpu_us, lapin.cpu_us);
    }
    Ok((client, broker, cpu))
}

/// Messages with keys beside messages without.
pub(crate) async fn keys(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.size(100_000);
    let mut figures = Vec::new();
    let rate = async |keys| {
        let stack = bench.servers.stack().await;
        quorum_queue(&stack).await;
        fill(&stack, count, keys, BODY).await?;
        anyhow::Ok(publish_backlog(&stack, count).await?.per_second)
    };
    for keys in [10, 1_000, 100_000] {
        let mut pairs = Pairs::default();
        for _ in 0..bench.times(2) {
            let without = rate(0).await?;
            pairs.add(rate(keys).await?, without);
        }
        figures.push(pairs.figure(&format!("drain_{keys}_keys_vs_unkeyed"), "messages/s"));
    }
    Ok(figures)
}
