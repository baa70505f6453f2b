//! A channel for requests: declarations, bindings, a subscription and its acknowledgements.

use std::{collections::BTreeMap, io};

use lapin::{
    BasicProperties, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use postroom_message::HeaderValue;
use tokio::runtime::Handle;

use crate::{Deliveries, Error};

/// Arguments of a queue by their names, such as `x-queue-type`.
pub type Arguments = BTreeMap<String, HeaderValue>;

/// Queue that a declaration asks for.
#[derive(Debug, Clone, Copy)]
pub enum Queue<'a> {
    /// A queue that stays when its connection ends or the broker restarts.
    Durable(&'a Arguments),
    /// A queue of this connection alone, which the broker deletes together with the connection.
    Exclusive(&'a Arguments),
    /// Any queue that exists: nothing is declared.
    Existing,
}

/// A channel, which is closed when it is dropped. The broker closes a channel over the first request that it refuses.
///
/// lapin 4.12 closes a dropped channel too. But if the connection is being closed at that moment, lapin takes the
/// failed close of the channel for an error of the connection, and does not wait until the broker has closed it.
#[derive(Debug)]
pub struct Channel(lapin::Channel);

impl Channel {
    pub(crate) const fn new(client: lapin::Channel) -> Self {
        Self(client)
    }

    /// Declares a durable topic exchange; with `passive`, only checks that an exchange of this name exists, which needs
    /// no right at the broker.
    ///
    /// # Errors
    /// Fails if the exchange is missing or exists with other properties, or if the user may not declare it.
    pub async fn declare_exchange(&self, exchange: &str, passive: bool) -> Result<(), Error> {
        let options = ExchangeDeclareOptions {
            durable: true,
            passive,
            ..ExchangeDeclareOptions::default()
        };
        let (exchange, arguments) = (short(exchange)?, FieldTable::default());
        let (client, kind) = (&self.0, ExchangeKind::Topic);
        let declared = client.exchange_declare(exchange, kind, options, arguments);
        Ok(declared.await?)
    }

    /// Declares a queue, or finds it. Returns the number of subscribers that it serves: at a quorum queue with a single
    /// active consumer those that wait do not count.
    ///
    /// # Errors
    /// Fails if the queue exists with other properties, belongs to another connection, or may not be declared.
    pub async fn declare_queue(&self, queue: &str, asked: Queue<'_>) -> Result<u32, Error> {
        let options = QueueDeclareOptions {
            durable: matches!(asked, Queue::Durable(_)),
            exclusive: matches!(asked, Queue::Exclusive(_)),
            passive: matches!(asked, Queue::Existing),
            ..QueueDeclareOptions::default()
        };
        let arguments = match asked {
            Queue::Durable(arguments) | Queue::Exclusive(arguments) => table(arguments)?,
            Queue::Existing => FieldTable::default(),
        };
        let declared = self.0.queue_declare(short(queue)?, options, arguments);
        Ok(declared.await?.consumer_count())
    }

    /// Deletes a queue.
    ///
    /// # Errors
    /// Fails if the user may not delete the queue, or the connection is lost.
    pub async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        let options = QueueDeleteOptions::default();
        self.0.queue_delete(short(queue)?, options).await?;
        Ok(())
    }

    /// Binds a queue to the topics of an exchange that match a pattern.
    ///
    /// # Errors
    /// Fails if either is missing, or if the user may not bind.
    pub async fn bind(&self, queue: &str, exchange: &str, pattern: &str) -> Result<(), Error> {
        let (queue, exchange, pattern) = (short(queue)?, short(exchange)?, short(pattern)?);
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bound = self
            .0
            .queue_bind(queue, exchange, pattern, options, arguments);
        Ok(bound.await?)
    }

    /// Limits the number of deliveries that wait for their acknowledgement.
    ///
    /// # Errors
    /// Fails if the connection is lost.
    pub async fn set_prefetch(&self, deliveries: u16) -> Result<(), Error> {
        let options = BasicQosOptions::default();
        Ok(self.0.basic_qos(deliveries, options).await?)
    }

    /// Subscribes to a queue.
    ///
    /// # Errors
    /// Fails if the queue is missing, or if the user may not read it.
    pub async fn consume(&self, queue: &str) -> Result<Deliveries, Error> {
        let (queue, tag) = (short(queue)?, ShortString::default());
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let subscribed = self.0.basic_consume(queue, tag, options, arguments);
        Ok(Deliveries::new(subscribed.await?))
    }

    /// Acknowledges a delivery by its tag; with `multiple`, also all earlier ones that are not acknowledged yet.
    ///
    /// # Errors
    /// Fails if the channel is closed.
    pub async fn acknowledge(&self, tag: u64, multiple: bool) -> Result<(), Error> {
        Ok(self.0.basic_ack(tag, BasicAckOptions { multiple }).await?)
    }

    /// Closes the channel; errors have no meaning any more.
    pub(crate) async fn close(self) {
        close(&self.0).await;
    }

    pub(crate) const fn client(&self) -> &lapin::Channel {
        &self.0
    }

    pub(crate) async fn try_to_publish(
        self,
        exchange: &str,
        topic: &str,
        user_id: Option<&str>,
    ) -> Result<(), Error> {
        let (exchange, topic) = (short(exchange)?, short(topic)?);
        let mut properties = BasicProperties::default();
        if let Some(user_id) = user_id {
            properties = properties.with_user_id(short(user_id)?);
        }
        self.0.tx_select().await?;
        let options = BasicPublishOptions::default();
        self.0
            .basic_publish(exchange, topic, options, &[], properties)
            .await?;
        Ok(self.0.tx_rollback().await?)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if self.0.status().connected()
            && let Ok(runtime) = Handle::try_current()
        {
            let client = self.0.clone();
            runtime.spawn(async move { close(&client).await });
        }
    }
}

async fn close(client: &lapin::Channel) {
    drop(client.close(200, ShortString::default()).await);
}

/// Converts a name. `ShortString::from` would panic for one that is too long.
pub(crate) fn short(name: &str) -> Result<ShortString, Error> {
    ShortString::try_new(name).map_err(|_| {
        let problem = format!("the name {name:?} is longer than 255 bytes; use a shorter one");
        io::Error::new(io::ErrorKind::InvalidInput, problem).into()
    })
}

fn table(arguments: &Arguments) -> Result<FieldTable, Error> {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            HeaderValue::Bool(value) => AMQPValue::Boolean(*value),
            HeaderValue::Int(value) => AMQPValue::LongLongInt(*value),
            HeaderValue::Float(value) => AMQPValue::Double(*value),
            HeaderValue::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        };
        table.insert(short(name)?, value);
    }
    Ok(table)
}
