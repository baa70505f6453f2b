//! Support for the inbox's tests.

mod broker;
mod database;
mod events;
mod proxy;
mod running;

use std::time::Duration;

use postroom_testkit::Stack;
use uuid::Uuid;

pub(crate) use broker::{Broker, properties};
pub(crate) use database::Database;
pub(crate) use events::{Log, Placed, Shipped, insert_effect};
pub(crate) use proxy::Proxy;
pub(crate) use running::Running;

/// A database and a virtual host, with a table for effects and a publisher.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) broker: Broker,
}

impl World {
    pub(crate) async fn new() -> Self {
        let Stack { database, broker } = Stack::new().await;
        Self {
            database: Database::new(database).await,
            broker: Broker::new(broker).await,
        }
    }

    /// Begins a consumer whose waits are short.
    pub(crate) fn consumer(&self) -> inbox::ConsumerBuilder {
        let millis = Duration::from_millis;
        inbox::Consumer::builder("billing")
            .database(self.database.pool(12))
            .amqp_url(self.broker.url())
            .backoff_in_place(millis(1), millis(10))
            .backoff_parked(millis(50), millis(100))
    }
}

/// Returns the sum of a metric over its labels, in the text that Prometheus reads; `None` if there is no such metric.
pub(crate) fn metric(rendered: &str, name: &str) -> Option<f64> {
    let lines = rendered.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let of_name = series.split('{').next() == Some(name);
        value.parse::<f64>().ok().filter(|_| of_name)
    });
    lines.reduce(|sum, value| sum + value)
}

/// Returns a random UUID, version 4, which tells no time.
pub(crate) fn uuid_v4() -> Uuid {
    let random = Uuid::now_v7();
    uuid::Builder::from_random_bytes(random.into_bytes()).into_uuid()
}
