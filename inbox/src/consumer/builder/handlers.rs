//! Settings of the handlers and of the tower layers around them.

use outbox::{Event, Outbox};
use serde::de::DeserializeOwned;
use tower::{ServiceExt, util::BoxCloneSyncService};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BatchHandler, ConsumerBuilder, Delivery, DeliveryService, Handler, Outcome, handler::BoxError,
};

impl ConsumerBuilder {
    /// Adds an async function as the handler of events `E`, and binds the queue to their topic.
    ///
    /// A message is dispatched by its type (`E::TYPE`), whatever its topic. The body is parsed as JSON.
    ///
    /// # Errors
    /// `build` returns [`BuildError::TwoHandlers`](crate::BuildError::TwoHandlers) if another handler takes
    /// the same type, and [`BuildError::NoHandler`](crate::BuildError::NoHandler) if no handler was added.
    #[must_use]
    pub fn on<E, H, Error>(mut self, handler: H) -> Self
    where
        E: Event + DeserializeOwned + Send + 'static,
        H: Handler<E, Error>,
        Error: 'static,
    {
        if !self.router.insert(handler) {
            self.duplicate_type = Some(E::TYPE);
        }
        self.bind(E::TOPIC)
    }

    /// Adds an async function that handles many events `E` at once, and binds the queue to their topic.
    /// The function takes a [`BatchContext`](crate::BatchContext) and a list of events.
    ///
    /// A batch consists of the messages that waited while the workers were busy, up to
    /// [`messages_per_transaction`](Self::messages_per_transaction), in the order of the queue, and has one
    /// transaction. If the transaction fails for any reason, each of its messages is handled again
    /// separately, as a batch of one, so that a failing message does not affect the others. A message that
    /// a layer delays for longer than the others is handled separately too: see
    /// [`messages_per_transaction`](Self::messages_per_transaction).
    ///
    /// # Errors
    /// As [`on`](Self::on).
    #[must_use]
    pub fn on_many<E, H, Error>(mut self, handler: H) -> Self
    where
        E: Event + DeserializeOwned + Send + 'static,
        H: BatchHandler<E, Error>,
        Error: 'static,
    {
        if !self.router.insert_many(handler) {
            self.duplicate_type = Some(E::TYPE);
        }
        self.bind(E::TOPIC)
    }

    /// Adds a tower layer around the handlers and the layers added before. Each attempt at a message passes
    /// the layer, before its transaction begins and after the transaction has ended.
    ///
    /// Rules for layers:
    ///
    /// - An error that the layer itself creates fails the attempt. An error that wraps or replaces the inner
    ///   service's error has the meaning of the inner error.
    /// - A layer cannot turn an inner error into success: an [`Outcome`] returned in place of an inner error
    ///   is ignored. An [`Outcome`] returned without calling the inner service is accepted for a message
    ///   from the queue: the message is acknowledged although no handler has seen it.
    /// - A layer that decrypts or unpacks bodies passes on the result of
    ///   [`Delivery::with_body`](crate::Delivery::with_body), not a new delivery: a new delivery has lost
    ///   its position among the deliveries of its key.
    ///
    /// No time limit ends a layer. An attempt that takes minutes longer than a handler may is logged, and
    /// counted in `postroom_inbox_stuck_attempts_total`. Messages that are to share a transaction pass the
    /// layer concurrently, and the transaction begins when at least one has passed. If a layer takes much
    /// longer for some messages than for others, or admits one message at a time, most messages run
    /// separately after all and pass the layer twice: see
    /// [`messages_per_transaction`](Self::messages_per_transaction).
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<DeliveryService> + Send + 'static,
        L::Service: Service<Delivery, Response = Outcome> + Clone + Send + Sync + 'static,
        <L::Service as Service<Delivery>>::Error: Into<BoxError>,
        <L::Service as Service<Delivery>>::Future: Send,
    {
        self.layers.push(Box::new(move |inner| {
            BoxCloneSyncService::new(layer.layer(inner).map_err(Into::into))
        }));
        self
    }

    /// Sets the outbox through which [`Context::publish`](crate::Context::publish) publishes. Defaults to
    /// `Outbox::new()`.
    #[must_use]
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = outbox;
        self
    }
}
