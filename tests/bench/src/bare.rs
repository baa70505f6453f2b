//! The limit of the inbox: a consumer that runs the same statements in the same transaction without an
//! inbox.

use std::sync::Arc;

use futures_util::StreamExt as _;
use lapin::{
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use postroom_testkit::{Login, Stack, short};
use sqlx::Connection as _;
use tokio::{sync::Mutex, task::JoinSet};

use crate::consumer::{Event, PREFETCH, run_three_statements};

/// Workers that consume one queue; stopped when dropped.
pub(crate) struct Bare {
    _connection: lapin::Connection,
    _workers: JoinSet<anyhow::Result<()>>,
}

impl Bare {
    /// Starts workers that begin, handle, commit and acknowledge. `committed` is called with the id of each
    /// message.
    pub(crate) async fn start(
        stack: &Stack,
        workers: usize,
        committed: impl Fn(String) + Clone + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (connection, channel) = stack.broker.channel().await;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let options = BasicConsumeOptions::default();
        let name = ShortString::default();
        let deliveries =
            channel.basic_consume(short("bench"), name, options, FieldTable::default());
        let deliveries = Arc::new(Mutex::new(deliveries.await?));
        let mut running = JoinSet::new();
        for _ in 0..workers {
            let (deliveries, committed) = (Arc::clone(&deliveries), committed.clone());
            let mut database = stack.database.connect(Login::Consumer).await;
            running.spawn(async move {
                loop {
                    let next = deliveries.lock().await.next().await;
                    let Some(Ok(delivery)) = next else {
                        return anyhow::Ok(());
                    };
                    let message = amqp::decode("bench.event", &delivery.properties);
                    let _event: Event = serde_json::from_slice(&delivery.data)?;
                    let mut tx = database.begin().await?;
                    let id = message.message_id.unwrap_or_default();
                    run_three_statements(&mut tx, &id, message.key.as_deref()).await?;
                    tx.commit().await?;
                    committed(id);
                    delivery.ack(BasicAckOptions::default()).await?;
                }
            });
        }
        Ok(Self {
            _connection: connection,
            _workers: running,
        })
    }
}
