//! The tap: an independent check that reads all published messages with a plain AMQP client.
//!
//! The tap uses no code of Postroom, so it cannot repeat a mistake of Postroom. It checks ids, and the
//! running number in each JSON body: for each topic and customer the numbers must arrive as 1, 2, 3 …,
//! apart from repeated messages.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use futures_util::StreamExt as _;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer, ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::FieldTable,
};
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{interval, sleep},
};

/// Reads everything that is published, and keeps a report of it in a file
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Args {
    /// The broker: `amqp://user:password@host/vhost`
    #[arg(long, env = "POSTROOM_AMQP_URL", hide_env_values = true)]
    amqp_url: String,
    /// File that the report is kept in, as JSON; it appears once the queue is bound
    #[arg(long)]
    report: PathBuf,
}

/// Report of the messages received so far.
#[derive(Default, Serialize)]
struct Report {
    deliveries: u64,
    distinct: u64,
    /// Number of messages that were published more than once.
    repeats: u64,
    /// Number of messages that the broker redelivered because the tap lost its connection before
    /// acknowledging.
    redelivered: u64,
    /// Number of distinct messages by topic.
    topics: BTreeMap<String, u64>,
    /// Number of topics and keys whose first deliveries were out of order.
    broken_keys: u64,
    first_broken: Option<String>,
}

#[derive(Default)]
struct Tap {
    report: Report,
    ids: HashSet<String>,
    /// Latest number by topic and customer; `None` once the order is broken.
    latest: HashMap<(String, i64), Option<i64>>,
}

#[derive(Deserialize)]
struct Body {
    customer: i64,
    number: i64,
}

impl Tap {
    fn record(&mut self, delivery: &Delivery) -> anyhow::Result<()> {
        let id = delivery.properties.message_id().as_ref();
        let id = id.context("a message without an id")?.to_string();
        self.report.deliveries += 1;
        if !self.ids.insert(id) {
            if delivery.redelivered {
                self.report.redelivered += 1;
            } else {
                self.report.repeats += 1;
            }
            return Ok(());
        }
        self.report.distinct += 1;
        let topic = delivery.routing_key.to_string();
        *self.report.topics.entry(topic.clone()).or_default() += 1;

        let body: Body = serde_json::from_slice(&delivery.data).context("reading a body")?;
        let entry = self.latest.entry((topic, body.customer));
        let (topic, customer) = entry.key().clone();
        let latest = entry.or_insert(Some(0));
        match *latest {
            Some(number) if body.number == number + 1 => *latest = Some(body.number),
            Some(number) => {
                *latest = None;
                self.report.broken_keys += 1;
                self.report.first_broken.get_or_insert_with(|| {
                    format!(
                        "{topic} of customer {customer}: {} after {number}",
                        body.number
                    )
                });
            }
            None => {}
        }
        Ok(())
    }

    /// Reads messages until the connection is lost.
    #[expect(
        clippy::disallowed_methods,
        reason = "the shop's messages alone are read"
    )]
    async fn read(&mut self, args: &Args) -> anyhow::Result<()> {
        let connection =
            Connection::connect(&args.amqp_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let mut deliveries = open(&channel).await?;
        self.write(&args.report)?;
        let mut unacknowledged = None;
        let mut pause = interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                delivery = deliveries.next() => {
                    let delivery = delivery.context("the queue is gone")??;
                    self.record(&delivery)?;
                    unacknowledged = Some(delivery.delivery_tag);
                }
                _ = pause.tick() => if let Some(latest) = unacknowledged.take() {
                    channel.basic_ack(latest, BasicAckOptions { multiple: true }).await?;
                    self.write(&args.report)?;
                }
            }
        }
    }

    /// Replaces the report atomically, so that a reader never sees half a report.
    fn write(&self, file: &Path) -> anyhow::Result<()> {
        let new = file.with_extension("new");
        let written = fs::write(&new, serde_json::to_vec_pretty(&self.report)?);
        let written = written.and_then(|()| fs::rename(&new, file));
        written.with_context(|| format!("writing {}", file.display()))
    }
}

/// Declares the queue `tap`, binds it to all topics and consumes it.
async fn open(channel: &Channel) -> anyhow::Result<Consumer> {
    let table = FieldTable::default;
    let exchange = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let queue = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let bind = QueueBindOptions::default();
    let consume = BasicConsumeOptions::default();
    channel
        .exchange_declare("postroom".into(), ExchangeKind::Topic, exchange, table())
        .await?;
    channel.queue_declare("tap".into(), queue, table()).await?;
    channel
        .queue_bind("tap".into(), "postroom".into(), "#".into(), bind, table())
        .await?;
    // More messages than arrive between two acknowledgements.
    channel.basic_qos(5_000, BasicQosOptions::default()).await?;
    Ok(channel
        .basic_consume("tap".into(), "tap".into(), consume, table())
        .await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut stop = signal(SignalKind::terminate())?;
    let mut tap = Tap::default();
    loop {
        tokio::select! {
            _ = stop.recv() => return tap.write(&args.report),
            lost = tap.read(&args) => if let Err(error) = lost {
                writeln!(std::io::stderr(), "reading again after: {error:#}")?;
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
}
