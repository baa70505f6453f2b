//! A whole relay over the broker in memory.

use std::{collections::HashSet, time::Duration};

use postroom_testkit::{Database, Login, eventually};
use relay::{Config, Relay};
use sqlx::Executor as _;
use support::MemoryBroker;
use tokio::sync::oneshot;

/// Waits until the queue has had each of the messages; returns how many times it has had any.
async fn had(broker: &MemoryBroker, distinct: usize) -> usize {
    let (mut ids, mut times) = (HashSet::new(), 0);
    eventually("the messages are in the queue", async || {
        let taken = broker.take("q");
        times += taken.len();
        ids.extend(taken.iter().map(|message| message.message_id));
        ids.len() >= distinct
    })
    .await;
    assert_eq!(ids.len(), distinct);
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_messages_pass_a_broker_that_is_cut_blocked_and_full() {
    let database = Database::new().await;
    let mut config = Config::default();
    config.database.url = Some(database.url(Login::Relay).into());
    config.publish.retry_first = Duration::from_millis(100);
    config.publish.retry_longest = Duration::from_millis(500);
    let broker = MemoryBroker::new(config.amqp.channels);
    broker.bind("q", "orders.#", 10);
    let (stop, stopped) = oneshot::channel();
    let relay = Relay::new(config).run_over(broker.clone(), async { drop(stopped.await) });
    let running = tokio::spawn(relay);
    let mut producer = database.connect(Login::Producer).await;
    let publish = "SELECT outbox.publish('orders.a', '1') FROM generate_series(1, 10)";

    producer.execute(publish).await.unwrap();
    assert_eq!(had(&broker, 10).await, 10);

    broker.mute(true);
    producer.execute(publish).await.unwrap();
    had(&broker, 10).await;
    broker.cut();
    broker.mute(false);
    assert_eq!(had(&broker, 10).await, 10, "all are sent again");

    broker.block(Some("no disk"));
    producer.execute(publish).await.unwrap();
    assert_eq!(broker.take("q").len(), 0);
    broker.block(None);
    had(&broker, 10).await;

    // Twice as many as the queue has room for.
    producer.execute(publish).await.unwrap();
    producer.execute(publish).await.unwrap();
    assert_eq!(had(&broker, 20).await, 20, "each once");
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}
