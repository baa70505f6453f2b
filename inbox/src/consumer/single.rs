//! Single deliveries, given to a consumer without a queue.

use crate::{AttemptError, Consumer, Delivery, Outcome};

impl Consumer {
    /// Makes one attempt at a delivery, as [`Consumer::run`] does with a delivery from the queue: the handler is chosen by
    /// type and version, layers and limits apply, and the handler's work commits together with the record of the id.
    ///
    /// No broker is needed: [`build`](crate::ConsumerBuilder::build) checks the broker's URL, for which `amqp://localhost`
    /// will do, and opens no connection. A failed attempt is neither repeated nor parked, and the delivery may be given
    /// again.
    ///
    /// ```no_run
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct OrderPlaced { order: i64 }
    /// # impl outbox::Event for OrderPlaced {
    /// #     const TOPIC: &'static str = "orders.placed";
    /// #     fn key(&self) -> Option<String> { None }
    /// # }
    /// # async fn example(consumer: inbox::Consumer) -> Result<(), Box<dyn std::error::Error>> {
    /// use inbox::{Delivery, Outcome};
    ///
    /// let delivery = Delivery::of(&OrderPlaced { order: 7 })?;
    /// assert_eq!(consumer.handle(delivery.clone()).await?, Outcome::Handled);
    /// assert_eq!(consumer.handle(delivery).await?, Outcome::Duplicate);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Fails if the message was not handled; nothing was written then, unless the handler ended the transaction itself.
    pub async fn handle(&self, delivery: Delivery) -> Result<Outcome, AttemptError> {
        self.tasks.engine.run_once(&delivery).await
    }

    /// As [`Consumer::handle`], but rolls the transaction back after the handler has succeeded and the deferred
    /// constraints are checked: neither the handler's work nor the record of the id remains. A process that is killed
    /// just before its commit leaves the same.
    ///
    /// # Errors
    /// As [`Consumer::handle`].
    pub async fn rehearse(&self, delivery: Delivery) -> Result<Outcome, AttemptError> {
        self.tasks.engine.run_once(&delivery.rehearsed()).await
    }

    /// Decodes a delivery's body as the event of its handler, after the steps from an older version, and calls no
    /// handler: a test that kept bodies of earlier releases can still be read. Layers do not take part, and extractors
    /// are not made.
    ///
    /// # Errors
    /// Fails if no handler takes the type or the version, or if the body cannot be decoded.
    pub fn read(&self, delivery: &Delivery) -> Result<(), AttemptError> {
        self.tasks.engine.read(delivery)
    }
}
