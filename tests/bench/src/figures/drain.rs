//! How fast what waits is published.

use crate::{
    Bench,
    figure::Figure,
    frames,
    load::{BODY, drain, fill, purge, quorum},
    pairs::Pairs,
    places::Places,
    straight,
};

const TOPIC: &str = "bench.event";

/// The relay beside lapin alone and beside frames alone: 1,000 keys, a quorum queue.
pub(crate) async fn straight(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (client, broker, cpu) = beside_clients(bench).await?;
    Ok(vec![
        client.figure("drain_vs_lapin", "messages/s"),
        broker.figure("drain_vs_broker", "messages/s"),
        cpu.figure("relay_cpu_us_per_message", "us"),
    ])
}

/// The same with processors that only the broker uses, as where it has a machine of its own.
pub(crate) async fn apart(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let _places = Places::apart(&bench.servers.rabbitmq)?;
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
        quorum(&stack).await;
        fill(&stack, count, 1_000, BODY).await?;
        let ours = drain(&stack, count).await?;
        purge(&stack).await?;
        let lapin = straight::publish(&stack, TOPIC, count, 1_000, &body).await?;
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

/// Keys beside none.
pub(crate) async fn keys(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.size(100_000);
    let mut figures = Vec::new();
    let rate = async |keys| {
        let stack = bench.servers.stack().await;
        quorum(&stack).await;
        fill(&stack, count, keys, BODY).await?;
        anyhow::Ok(drain(&stack, count).await?.per_second)
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
