//! A queue that sees everything, read with a plain AMQP client.

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt as _;
use lapin::{
    Channel, Connection, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{VirtualHost, eventually};

/// A message as it came out of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Message id.
    pub id: String,
    /// Routing key.
    pub topic: String,
    /// Ordering key.
    pub key: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

/// A bound queue and everything that came out of it, in order.
#[derive(Debug)]
pub struct Tap {
    seen: watch::Receiver<Vec<Seen>>,
    reading: JoinHandle<()>,
    _connection: Connection,
}

impl Tap {
    /// Declares a classic queue bound to `pattern`, and the exchange `postroom`.
    pub async fn open(broker: &VirtualHost, queue: &str, pattern: &str) -> Self {
        let (connection, channel) = broker.channel().await;
        declare(&channel, queue, pattern, FieldTable::default()).await;
        Self::read(connection, channel, queue).await
    }

    /// Reads a queue that exists.
    pub async fn read(connection: Connection, channel: Channel, queue: &str) -> Self {
        let (sender, seen) = watch::channel(Vec::new());
        let mut deliveries = channel
            .basic_consume(
                short(queue),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("consuming from the tap");
        let name = queue.to_owned();
        let reading = tokio::spawn(async move {
            while let Some(delivery) = deliveries.next().await {
                let delivery = match delivery {
                    Ok(delivery) => delivery,
                    Err(error) => return cut_short(&name, &error),
                };
                let headers = delivery.properties.headers().clone().unwrap_or_default();
                let text = |name: &str| match headers.inner().get(name) {
                    Some(AMQPValue::LongString(text)) => Some(text.to_string()),
                    _ => None,
                };
                let seen = Seen {
                    id: delivery
                        .properties
                        .message_id()
                        .clone()
                        .unwrap_or_default()
                        .to_string(),
                    topic: delivery.routing_key.to_string(),
                    key: text("cloudEvents_partitionkey"),
                    body: delivery.data.clone(),
                };
                sender.send_modify(|all| all.push(seen));
                if let Err(error) = delivery.ack(BasicAckOptions::default()).await {
                    return cut_short(&name, &error);
                }
            }
            cut_short(&name, &"its consumer was cancelled");
        });
        Self {
            seen,
            reading,
            _connection: connection,
        }
    }

    /// Everything so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Waits until so many distinct messages were seen, and returns everything.
    pub async fn distinct(&self, count: usize) -> Vec<Seen> {
        eventually(&format!("the tap sees {count} messages"), async || {
            self.ids().len() >= count
        })
        .await;
        self.seen()
    }

    /// Ids of the messages seen.
    pub fn ids(&self) -> HashSet<String> {
        self.seen
            .borrow()
            .iter()
            .map(|seen| seen.id.clone())
            .collect()
    }

    /// First occurrences by key, in order.
    pub fn first_by_key(&self) -> HashMap<String, Vec<Seen>> {
        let mut ids = HashSet::new();
        let mut keys: HashMap<String, Vec<Seen>> = HashMap::new();
        for seen in self.seen.borrow().iter() {
            if let (true, Some(key)) = (ids.insert(seen.id.clone()), &seen.key) {
                keys.entry(key.clone()).or_default().push(seen.clone());
            }
        }
        keys
    }
}

/// Says that a tap sees nothing more; shown for a failed test, which may think that nothing came.
#[allow(clippy::print_stdout)]
fn cut_short(queue: &str, why: &dyn std::fmt::Display) {
    println!("the tap of {queue:?} ended: {why}");
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Declares the exchange `postroom` and a durable queue bound to it.
pub async fn declare(channel: &Channel, queue: &str, pattern: &str, arguments: FieldTable) {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            short("postroom"),
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await
        .expect("declaring the exchange");
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(short(queue), durable, arguments)
        .await
        .expect("declaring a queue");
    channel
        .queue_bind(
            short(queue),
            short("postroom"),
            short(pattern),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("binding a queue");
}

/// A short string.
pub fn short(text: &str) -> ShortString {
    ShortString::try_new(text).expect("at most 255 bytes")
}
