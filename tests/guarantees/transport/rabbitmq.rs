//! RabbitMQ, behind a wire that can be cut.

use lapin::{
    options::BasicGetOptions,
    types::{AMQPValue, FieldTable, LongString},
};
use postroom_testkit::{Proxy, RabbitNode, VirtualHost, Wire, declare, short};
use relay::{Config, transport::RabbitMq};

use crate::suite::World;

/// Frames are small, so that long headers fit none: the broker ends the connection over them.
const FRAME_MAX: &str = "?frame_max=8192";

struct OnRabbitMq {
    transport: RabbitMq,
    proxy: Proxy,
    broker: VirtualHost,
    /// A node of the test's own.
    node: Option<RabbitNode>,
}

impl OnRabbitMq {
    async fn on(broker: VirtualHost, node: Option<RabbitNode>) -> Self {
        let proxy = Proxy::new(&broker.url(), Wire::Forward).await;
        let mut config = Config::default();
        config.amqp.url = Some((proxy.url(&broker.url()) + FRAME_MAX).into());
        config.amqp.channels = 2;
        Self {
            transport: RabbitMq::new(&config).unwrap(),
            proxy,
            broker,
            node,
        }
    }
}

impl World for OnRabbitMq {
    type Transport = RabbitMq;

    async fn new() -> Self {
        Self::on(VirtualHost::new(), None).await
    }

    async fn alone() -> Self {
        let node = RabbitNode::start();
        let broker = VirtualHost::new_on(&node.url(), &node.admin_url());
        Self::on(broker, Some(node)).await
    }

    fn transport(&self) -> &RabbitMq {
        &self.transport
    }

    async fn bind(&self, queue: &str, pattern: &str, room: usize) {
        let (_connection, channel) = self.broker.channel().await;
        let mut arguments = FieldTable::default();
        arguments.insert(short("x-max-length"), AMQPValue::LongInt(room as i32));
        let refuse = AMQPValue::LongString(LongString::from("reject-publish"));
        arguments.insert(short("x-overflow"), refuse);
        declare(&channel, queue, pattern, arguments).await;
    }

    async fn take(&self, queue: &str) -> Vec<String> {
        let (_connection, channel) = self.broker.channel().await;
        let mut ids = Vec::new();
        loop {
            let get = channel.basic_get(short(queue), BasicGetOptions { no_ack: true });
            let Some(message) = get.await.unwrap() else {
                return ids;
            };
            let id = message.delivery.properties.message_id().as_ref();
            ids.push(id.unwrap().to_string());
        }
    }

    async fn mute(&self, mute: bool) {
        let wire = if mute { Wire::Deaf } else { Wire::Forward };
        self.proxy.set(wire).await;
    }

    async fn block(&self, block: bool) {
        let watermark = if block { "0.0000001" } else { "0.4" };
        let node = self.node.as_ref().expect("a node of the test's own");
        node.control(&["set_vm_memory_high_watermark", watermark]);
    }

    async fn cut(&self) {
        self.proxy.set(Wire::Reset).await;
    }
}

suite!(OnRabbitMq);
