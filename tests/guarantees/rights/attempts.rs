//! Attempts at the broker that must be refused.

use std::future::Future;

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
    },
    types::{AMQPValue, FieldTable},
};
use postroom_testkit::{User, VirtualHost, short};
use serde_json::json;

/// A user's connection.
pub(crate) struct Intruder<'a> {
    user: &'a User,
    connection: Connection,
}

impl<'a> Intruder<'a> {
    #[expect(clippy::disallowed_methods, reason = "any client")]
    pub(crate) async fn new(user: &'a User) -> Self {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&user.url(), properties).await;
        Self {
            user,
            connection: connection.unwrap(),
        }
    }

    /// Tries something on a channel of its own, and asserts that the broker refuses it for want of a right.
    async fn refused<T: std::fmt::Debug, F>(&self, what: &str, attempt: impl FnOnce(Channel) -> F)
    where
        F: Future<Output = lapin::Result<T>>,
    {
        let channel = self.connection.create_channel().await.unwrap();
        let error = match attempt(channel).await {
            Ok(done) => panic!("{} may {what}: {done:?}", self.user.name),
            Err(error) => error,
        };
        let refused =
            matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == 403);
        assert!(refused, "{what}: {error}");
    }

    pub(crate) async fn may_not_declare_exchange(&self, name: &str, alternate: Option<&str>) {
        for kind in [ExchangeKind::Topic, ExchangeKind::Fanout] {
            let what = format!("declare the exchange {name} as {kind:?}, {alternate:?}");
            self.refused(&what, async |channel| {
                let durable = ExchangeDeclareOptions {
                    durable: true,
                    ..ExchangeDeclareOptions::default()
                };
                let arguments = arguments(alternate.map(|name| ("alternate-exchange", name)));
                channel
                    .exchange_declare(short(name), kind, durable, arguments)
                    .await
            })
            .await;
        }
    }

    pub(crate) async fn may_not_delete_exchange(&self, name: &str) {
        self.refused(&format!("delete the exchange {name}"), async |channel| {
            channel
                .exchange_delete(short(name), ExchangeDeleteOptions::default())
                .await
        })
        .await;
    }

    pub(crate) async fn may_not_bind_exchange(&self, to: &str, from: &str, pattern: &str) {
        let what = format!("bind the exchange {to} to {from} by {pattern}");
        self.refused(&what, async |channel| {
            let options = ExchangeBindOptions::default();
            let (to, from, pattern) = (short(to), short(from), short(pattern));
            channel
                .exchange_bind(to, from, pattern, options, FieldTable::default())
                .await
        })
        .await;
    }

    pub(crate) async fn may_not_declare_queue(&self, name: &str, dead_letters: Option<&str>) {
        for exclusive in [true, false] {
            let what = format!("declare the queue {name}, exclusive {exclusive}, {dead_letters:?}");
            self.refused(&what, async |channel| {
                let options = QueueDeclareOptions {
                    exclusive,
                    ..QueueDeclareOptions::default()
                };
                let arguments =
                    arguments(dead_letters.map(|name| ("x-dead-letter-exchange", name)));
                channel.queue_declare(short(name), options, arguments).await
            })
            .await;
        }
    }

    pub(crate) async fn may_not_bind_queue(&self, name: &str, exchange: &str, pattern: &str) {
        let what = format!("bind the queue {name} to {exchange} by {pattern}");
        self.refused(&what, async |channel| {
            let options = QueueBindOptions::default();
            let (name, exchange, pattern) = (short(name), short(exchange), short(pattern));
            channel
                .queue_bind(name, exchange, pattern, options, FieldTable::default())
                .await
        })
        .await;
        let what = format!("unbind the queue {name} from {exchange} by {pattern}");
        self.refused(&what, async |channel| {
            let (name, exchange, pattern) = (short(name), short(exchange), short(pattern));
            channel
                .queue_unbind(name, exchange, pattern, FieldTable::default())
                .await
        })
        .await;
    }

    /// Tries to declare, bind, read, empty and delete a queue.
    pub(crate) async fn may_not_touch_queue(&self, name: &str) {
        self.may_not_declare_queue(name, None).await;
        self.may_not_bind_queue(name, "postroom", "orders.placed")
            .await;
        self.refused(&format!("get from {name}"), async |channel| {
            channel
                .basic_get(short(name), BasicGetOptions::default())
                .await
        })
        .await;
        self.refused(&format!("consume from {name}"), async |channel| {
            let options = BasicConsumeOptions::default();
            channel
                .basic_consume(short(name), short(""), options, FieldTable::default())
                .await
        })
        .await;
        self.refused(&format!("purge {name}"), async |channel| {
            channel
                .queue_purge(short(name), QueuePurgeOptions::default())
                .await
        })
        .await;
        self.refused(&format!("delete {name}"), async |channel| {
            channel
                .queue_delete(short(name), QueueDeleteOptions::default())
                .await
        })
        .await;
    }

    pub(crate) async fn may_not_publish(&self, exchange: &str, topic: &str) {
        let what = format!("publish to {exchange:?} by {topic}");
        self.refused(&what, async |channel| {
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            let (exchange, topic) = (short(exchange), short(topic));
            let (options, properties) =
                (BasicPublishOptions::default(), BasicProperties::default());
            channel
                .basic_publish(exchange, topic, options, b"forged", properties)
                .await?
                .await
        })
        .await;
    }

    /// Tries to change policies, rights and exchanges by the management API.
    pub(crate) fn may_not_manage(&self, broker: &VirtualHost) {
        let (vhost, name) = (&broker.name, &self.user.name);
        let policy = json!({ "pattern": ".*", "definition": { "expires": 1 } });
        let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        let exchange = json!({ "type": "fanout" });
        for (method, path, body) in [
            ("PUT", format!("policies/{vhost}/expire"), &policy),
            ("PUT", format!("permissions/{vhost}/{name}"), &everything),
            (
                "DELETE",
                format!("topic-permissions/{vhost}/{name}"),
                &everything,
            ),
            ("PUT", format!("exchanges/{vhost}/mine"), &exchange),
            ("DELETE", format!("exchanges/{vhost}/postroom"), &exchange),
        ] {
            let status = self.user.manage(method, &path, body);
            assert!([401, 403].contains(&status), "{method} {path}: {status}");
        }
    }
}

fn arguments(argument: Option<(&str, &str)>) -> FieldTable {
    let mut arguments = FieldTable::default();
    if let Some((name, value)) = argument {
        let value = AMQPValue::LongString(value.into());
        arguments.insert(short(name), value);
    }
    arguments
}

/// Exchanges, queues, bindings and policies, as the broker would export them.
pub(crate) fn definitions(broker: &VirtualHost) -> serde_json::Value {
    broker.request("GET", &format!("definitions/{}", broker.name), None)
}
