//! Publishers with rights of their own, and what a forger sends.

use inbox::{ConsumerBuilder, Context, HandlerError};
use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, ShortString},
};
use postroom_testkit::User;
use uuid::Uuid;

use crate::world::{Placed, World, insert_effect, properties};

/// A user of the broker that may write to the exchange, with a channel.
pub(super) struct Publisher {
    pub(super) user: User,
    channel: Channel,
    _connection: Connection,
}

impl Publisher {
    #[expect(clippy::disallowed_methods, reason = "any client")]
    pub(super) async fn new(world: &World) -> Self {
        let user = User::new(&world.broker.vhost);
        user.grant("^$", "^postroom$", "^$");
        let url = user.url();
        let connection = Connection::connect(&url, lapin::ConnectionProperties::default());
        let connection = connection.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await.unwrap();
        Self {
            user,
            channel,
            _connection: connection,
        }
    }

    pub(super) async fn publish(&self, properties: BasicProperties, body: &[u8]) {
        let publish = self.channel.basic_publish(
            "postroom".into(),
            "orders.placed".into(),
            BasicPublishOptions::default(),
            body,
            properties,
        );
        assert!(publish.await.unwrap().await.unwrap().is_ack());
    }

    /// Publishes as the relay would.
    pub(super) async fn publish_event(&self, id: Uuid, event: &Placed) {
        let body = serde_json::to_vec(event).unwrap();
        self.publish(self.properties(id, &event.customer), &body)
            .await;
    }

    /// Properties as the relay would set them, as this user.
    pub(super) fn properties(&self, id: Uuid, key: &str) -> BasicProperties {
        let properties = properties(id, Some(key), "orders.placed");
        properties.with_user_id(self.user.name.as_str().into())
    }
}

/// Handles an event, and rejects one without a number.
pub(super) async fn handle(mut ctx: Context, event: Placed) -> Result<(), HandlerError> {
    if event.n == 0 {
        return Err(HandlerError::reject("no number"));
    }
    insert_effect(&mut ctx, &event).await?;
    Ok(())
}

pub(super) fn trusting(world: &World, publisher: &Publisher) -> ConsumerBuilder {
    let builder = world.consumer().on::<Placed, _, _>(handle);
    builder.trusted_publishers([publisher.user.name.as_str()])
}

/// Adds a header that publishers do not set.
fn with_header(properties: BasicProperties, name: &str, value: AMQPValue) -> BasicProperties {
    let mut table = properties.headers().clone().unwrap_or_default();
    table.insert(ShortString::from(name), value);
    properties.with_headers(table)
}

/// Publishes what could suppress the messages of these ids, block the key, and pose as their publisher.
pub(super) async fn forge(forger: &Publisher, ids: &[Uuid], key: &str) {
    let body = serde_json::to_vec(&Placed::new(key, 0)).unwrap();
    for &id in ids {
        // Garbage, an event that fails, and the same without a user.
        forger.publish(forger.properties(id, key), b"garbage").await;
        forger.publish(forger.properties(id, key), &body).await;
        let anonymous = properties(id, Some(key), "orders.placed");
        forger.publish(anonymous.clone(), &body).await;
        // Types without a handler, unreadable messages, counts of other queues.
        let unhandled = properties(id, Some(key), "orders.unknown");
        forger.publish(unhandled, b"{}").await;
        let unreadable = AMQPValue::LongString("forged".into());
        let unreadable = with_header(anonymous.clone(), "postroom-unreadable", unreadable);
        forger.publish(unreadable, &body).await;
        let counted = AMQPValue::LongLongInt(500);
        let counted = with_header(anonymous, "x-delivery-count", counted);
        forger.publish(counted, &body).await;
    }
    // No id at all, which would be dead anyway, and an id of another kind.
    let without_id = BasicProperties::default().with_type("orders.placed".into());
    forger.publish(without_id, &body).await;
    let other = BasicProperties::default().with_message_id("7".into());
    forger.publish(other, &body).await;
}
