//! Requests about exchanges that divide the messages of a consumer into queues, and their bindings.

use lapin::{
    ExchangeKind,
    options::{
        ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use postroom_message::Slot;

use crate::{Channel, Error, SLOT, channel::short};

/// Messages and consumers of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages that wait for a delivery. Messages that are delivered and not acknowledged do not count.
    pub ready: u32,
    /// Active consumers.
    pub consumers: u32,
}

impl Channel {
    /// Declares a durable exchange that routes messages by their slots, and messages that it routes to no queue to the
    /// exchange `rest`.
    ///
    /// # Errors
    /// Fails if the exchange exists with other properties, or if the user may not declare it.
    pub async fn declare_slots_exchange(&self, exchange: &str, rest: &str) -> Result<(), Error> {
        let mut arguments = FieldTable::default();
        let rest = AMQPValue::LongString(LongString::from(rest));
        arguments.insert("alternate-exchange".into(), rest);
        self.declare(exchange, ExchangeKind::Headers, arguments)
            .await
    }

    /// Declares a durable exchange that routes every message to all queues that are bound to it.
    ///
    /// # Errors
    /// As [`declare_slots_exchange`](Self::declare_slots_exchange).
    pub async fn declare_fanout_exchange(&self, exchange: &str) -> Result<(), Error> {
        let arguments = FieldTable::default();
        self.declare(exchange, ExchangeKind::Fanout, arguments)
            .await
    }

    async fn declare(
        &self,
        exchange: &str,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(), Error> {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = self
            .client()
            .exchange_declare(short(exchange)?, kind, options, arguments);
        Ok(declared.await?)
    }

    /// Deletes an exchange with its bindings; succeeds also if there is none.
    ///
    /// # Errors
    /// Fails if the user may not delete the exchange, or the connection is lost.
    pub async fn delete_exchange(&self, exchange: &str) -> Result<(), Error> {
        let options = ExchangeDeleteOptions::default();
        let deleted = self.client().exchange_delete(short(exchange)?, options);
        Ok(deleted.await?)
    }

    /// Binds an exchange to the topics of another that match a pattern.
    ///
    /// # Errors
    /// Fails if either is missing, or if the user may not bind.
    pub async fn bind_exchange(
        &self,
        exchange: &str,
        source: &str,
        pattern: &str,
    ) -> Result<(), Error> {
        let (exchange, source, pattern) = (short(exchange)?, short(source)?, short(pattern)?);
        let (options, arguments) = (ExchangeBindOptions::default(), FieldTable::default());
        let client = self.client();
        let bound = client.exchange_bind(exchange, source, pattern, options, arguments);
        Ok(bound.await?)
    }

    /// Removes the binding of an exchange; succeeds also if there is none.
    ///
    /// # Errors
    /// Fails if the user may not unbind, or the connection is lost.
    pub async fn unbind_exchange(
        &self,
        exchange: &str,
        source: &str,
        pattern: &str,
    ) -> Result<(), Error> {
        let (exchange, source, pattern) = (short(exchange)?, short(source)?, short(pattern)?);
        let (options, arguments) = (ExchangeUnbindOptions::default(), FieldTable::default());
        let client = self.client();
        let unbound = client.exchange_unbind(exchange, source, pattern, options, arguments);
        Ok(unbound.await?)
    }

    /// Removes the binding of a queue; succeeds also if there is none.
    ///
    /// # Errors
    /// Fails if the user may not unbind, or the connection is lost.
    pub async fn unbind(&self, queue: &str, source: &str, pattern: &str) -> Result<(), Error> {
        let (queue, source, pattern) = (short(queue)?, short(source)?, short(pattern)?);
        let client = self.client();
        let unbound = client.queue_unbind(queue, source, pattern, FieldTable::default());
        Ok(unbound.await?)
    }

    /// Binds a queue to the messages of one slot.
    ///
    /// # Errors
    /// Fails if the queue or the exchange is missing, or if the user may not bind.
    pub async fn bind_slot(&self, queue: &str, exchange: &str, slot: Slot) -> Result<(), Error> {
        // The broker compares types too: the header is a text.
        let text = |text: &str| AMQPValue::LongString(LongString::from(text));
        let mut arguments = FieldTable::default();
        arguments.insert("x-match".into(), text("all"));
        arguments.insert(SLOT.into(), text(&slot.number().to_string()));
        let (queue, exchange, key) = (short(queue)?, short(exchange)?, ShortString::default());
        let options = QueueBindOptions::default();
        let client = self.client();
        let bound = client.queue_bind(queue, exchange, key, options, arguments);
        Ok(bound.await?)
    }

    /// Returns the counts of a queue.
    ///
    /// # Errors
    /// Fails if there is no such queue ([`Refusal::NotFound`](crate::Refusal::NotFound)); the broker then closes the
    /// channel.
    pub async fn counts(&self, queue: &str) -> Result<QueueCounts, Error> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let client = self.client();
        let declared = client.queue_declare(short(queue)?, options, FieldTable::default());
        let declared = declared.await?;
        Ok(QueueCounts {
            ready: declared.message_count(),
            consumers: declared.consumer_count(),
        })
    }
}
