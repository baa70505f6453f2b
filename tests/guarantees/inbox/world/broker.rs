//! A publisher that knows nothing of the inbox.

use chrono::Utc;
use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use outbox::Headers;
use postroom_testkit::{VirtualHost, eventually};
use url::Url;
use uuid::Uuid;

use super::events::Placed;

/// A virtual host with a publisher.
pub(crate) struct Broker {
    pub(crate) vhost: VirtualHost,
    connection: Connection,
    channel: Channel,
}

impl Broker {
    pub(crate) async fn new(vhost: VirtualHost) -> Self {
        let (connection, channel) = vhost.channel().await;
        vhost.declare_exchange();
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await.unwrap();
        Self {
            vhost,
            connection,
            channel,
        }
    }

    /// Connects the publisher again.
    pub(crate) async fn reconnect(self) -> Self {
        Self::new(self.vhost).await
    }

    pub(crate) fn url(&self) -> String {
        self.vhost.url()
    }

    /// Returns the URL with another port.
    pub(crate) fn url_through(&self, port: u16) -> String {
        let mut url: Url = self.url().parse().unwrap();
        url.set_port(Some(port)).unwrap();
        url.to_string()
    }

    pub(crate) fn address(&self) -> (String, u16) {
        let url: Url = self.url().parse().unwrap();
        let host = url.host_str().unwrap().to_owned();
        (host, url.port().unwrap_or(5672))
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }

    /// Publishes an event with a fresh id; returns the id.
    pub(crate) async fn publish(&self, event: &Placed) -> Uuid {
        let id = Uuid::now_v7();
        self.publish_as(id, event).await;
        id
    }

    pub(crate) async fn publish_as(&self, id: Uuid, event: &Placed) {
        let body = serde_json::to_vec(event).unwrap();
        let properties = properties(id, Some(&event.customer), "orders.placed");
        self.publish_raw(properties, &body).await;
    }

    pub(crate) async fn publish_raw(&self, properties: BasicProperties, body: &[u8]) {
        let publish = self.channel.basic_publish(
            "postroom".into(),
            "orders.placed".into(),
            BasicPublishOptions::default(),
            body,
            properties,
        );
        let confirmation = publish.await.unwrap().await.unwrap();
        assert!(confirmation.is_ack());
    }

    /// Waits until the queue is empty and has no reader: everything was acknowledged.
    pub(crate) async fn settled(&self, name: &str) {
        eventually("everything is acknowledged", || async {
            self.queue(name).await == Some((0, 0))
        })
        .await;
    }

    /// Returns messages ready in the queue and its consumers; `None` if there is no such queue.
    pub(crate) async fn queue(&self, name: &str) -> Option<(u32, u32)> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        // A connection of its own: the broker closes the channel if there is no such queue, and the
        // client hands the error to whoever opens the next one.
        let (_connection, channel) = self.vhost.channel().await;
        let queue = channel.queue_declare(name.into(), options, FieldTable::default());
        let queue = queue.await.ok()?;
        Some((queue.message_count(), queue.consumer_count()))
    }
}

/// Returns the properties that the relay would set.
pub(crate) fn properties(id: Uuid, key: Option<&str>, type_name: &str) -> BasicProperties {
    let headers = Headers::new();
    let message = amqp::Outgoing {
        message_id: id,
        topic: "orders.placed",
        key,
        type_name,
        content_type: "application/json",
        headers: &headers,
        occurred_at: Utc::now(),
        source: "orders",
        user_id: None,
    };
    amqp::encode(&message).unwrap().properties
}
