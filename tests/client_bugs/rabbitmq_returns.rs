//! RabbitMQ 3.10 returns to a quorum queue what a lost consumer had not acknowledged: in order, but
//! behind what it returned before and has not sent again. So a process that takes over with a smaller
//! prefetch, and is lost as well, leaves its key's messages out of order. With one prefetch for all
//! processes of a consumer none is left behind, and the order holds.

use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{
        BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use postroom_testkit::{Proxy, VirtualHost, Wire, eventually, short};
use tokio::sync::watch;

const MESSAGES: u64 = 300;

/// A queue with one active consumer at a time, and messages in it.
async fn fill(broker: &VirtualHost) {
    let (_connection, channel) = broker.channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert(
        short("x-queue-type"),
        AMQPValue::LongString("quorum".into()),
    );
    arguments.insert(short("x-single-active-consumer"), AMQPValue::Boolean(true));
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(short("q"), options, arguments).await;
    declared.unwrap();
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await.unwrap();
    for number in 0..MESSAGES {
        let options = BasicPublishOptions::default();
        let (body, properties) = (number.to_be_bytes(), BasicProperties::default());
        let sent = channel.basic_publish(short(""), short("q"), options, &body, properties);
        sent.await.unwrap().await.unwrap();
    }
}

/// A consumer that acknowledges nothing.
struct Holding {
    wire: Proxy,
    connection: Connection,
    seen: watch::Receiver<Vec<u64>>,
}

impl Holding {
    #[expect(clippy::disallowed_methods, reason = "the client alone is tested")]
    async fn start(broker: &VirtualHost, prefetch: u16) -> Self {
        let wire = Proxy::new(&broker.url(), Wire::Forward).await;
        let url = wire.url(&broker.url());
        let connection = Connection::connect(&url, ConnectionProperties::default()).await;
        let connection = connection.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let qos = BasicQosOptions::default();
        channel.basic_qos(prefetch, qos).await.unwrap();
        let options = BasicConsumeOptions::default();
        let name = short(&format!("prefetch-{prefetch}"));
        let deliveries = channel.basic_consume(short("q"), name, options, FieldTable::default());
        let mut deliveries = deliveries.await.unwrap();
        let (sender, seen) = watch::channel(Vec::new());
        tokio::spawn(async move {
            // Dropping it would close it.
            let _channel = channel;
            while let Some(Ok(delivery)) = deliveries.next().await {
                let number = u64::from_be_bytes(delivery.data.as_slice().try_into().unwrap());
                sender.send_modify(|seen| seen.push(number));
            }
        });
        Self {
            wire,
            connection,
            seen,
        }
    }

    async fn seen(&self, count: usize) -> Vec<u64> {
        eventually("its deliveries have come", async || {
            self.seen.borrow().len() >= count
        })
        .await;
        self.seen.borrow().clone()
    }
}

/// Two consumers are lost, each while one other waits for its turn; the third one sees all. (With two
/// that wait, RabbitMQ 3.10 takes the first to have come, and 4.0 the last.)
async fn order_after_two_losses(first: u16, second: u16) -> Vec<u64> {
    let broker = VirtualHost::new();
    fill(&broker).await;
    let mut active = Holding::start(&broker, first).await;
    for (held, next) in [(first, second), (second, 1_000)] {
        let waiting = Holding::start(&broker, next).await;
        let seen = active.seen(usize::from(held)).await;
        assert!(seen.is_sorted(), "after one loss all is in order: {seen:?}");
        active.wire.set(Wire::Refuse).await;
        active = waiting;
    }
    active.seen(MESSAGES as usize).await
}

#[tokio::test]
async fn rabbitmq_keeps_the_order_if_all_processes_have_one_prefetch() {
    assert!(order_after_two_losses(64, 64).await.is_sorted());
}

#[tokio::test]
async fn rabbitmq_does_not_keep_the_order_if_the_second_prefetch_is_smaller() {
    let order = order_after_two_losses(64, 40).await;
    assert_eq!(order[..25], (40..64).chain([0]).collect::<Vec<u64>>());
}

/// Our consumers end in this way: they neither cancel nor acknowledge waiting deliveries.
#[tokio::test]
async fn rabbitmq_keeps_the_order_if_the_connection_is_closed_without_cancelling() {
    let broker = VirtualHost::new();
    fill(&broker).await;
    let first = Holding::start(&broker, 64).await;
    let second = Holding::start(&broker, 1_000).await;
    first.seen(64).await;
    first.connection.close(200, short("done")).await.unwrap();
    assert!(second.seen(MESSAGES as usize).await.is_sorted());
}
