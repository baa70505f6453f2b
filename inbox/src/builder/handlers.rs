//! Handlers, and the layers around them.

use outbox::{Event, Outbox};
use serde::de::DeserializeOwned;
use tower::{ServiceExt, util::BoxCloneSyncService};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BatchHandler, ConsumerBuilder, Delivery, DeliveryService, Handler, Outcome, handler::BoxError,
};

impl ConsumerBuilder {
    /// Handles the events `E` with an async function, and binds the queue to their topic.
    ///
    /// Messages find their handler by the name of their type (`E::TYPE`), whatever topic they come
    /// by; their body is read as JSON.
    #[must_use]
    pub fn on<E, H, Error>(mut self, handler: H) -> Self
    where
        E: Event + DeserializeOwned + Send + 'static,
        H: Handler<E, Error>,
        Error: 'static,
    {
        if !self.router.insert(handler) {
            self.handled_twice = Some(E::TYPE);
        }
        self.bind(E::TOPIC)
    }

    /// Handles many events `E` at once with an async function of a
    /// [`BatchContext`](crate::BatchContext) and a list of events, and binds the queue to their
    /// topic.
    ///
    /// A batch is what waited while the workers were busy, up to
    /// [`messages_per_transaction`](Self::messages_per_transaction), in the order of the queue. It
    /// has a transaction; if that fails for any reason, each of its messages is handled again by
    /// itself, as a batch of one, so that one that fails harms no other. So is a message that a layer keeps
    /// for longer than the others: see [`messages_per_transaction`](Self::messages_per_transaction).
    #[must_use]
    pub fn on_many<E, H, Error>(mut self, handler: H) -> Self
    where
        E: Event + DeserializeOwned + Send + 'static,
        H: BatchHandler<E, Error>,
        Error: 'static,
    {
        if !self.router.insert_many(handler) {
            self.handled_twice = Some(E::TYPE);
        }
        self.bind(E::TOPIC)
    }

    /// Adds a tower layer around everything so far: each attempt at a message passes it, before
    /// its transaction begins and after that ended. A layer added later is further outside.
    ///
    /// An error that a layer makes itself fails the attempt; one that it makes of what the handler said means
    /// the same as that, whatever it hides. An [`Outcome`] that it makes of an error is not believed; one with
    /// which it answers without calling what is within is, for a message from the queue: that is acknowledged,
    /// and nobody has handled it. One that decrypts or unpacks bodies passes on what
    /// [`Delivery::with_body`](crate::Delivery::with_body) returns, not a delivery that it made itself: that
    /// would have lost its place among others of its key.
    ///
    /// A layer may take its time, and nothing ends it: what takes minutes longer than a handler may is told, and
    /// counted in `postroom_inbox_stuck_attempts_total`. Messages that are to share a transaction pass it side by
    /// side, and none begins before one has passed. Where it takes much longer for some than for others, or lets
    /// one through at a time, most run by themselves after all, and pass it twice: see
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

    /// Sets the outbox that [`Context::publish`](crate::Context::publish) uses. Defaults to
    /// `Outbox::new()`.
    #[must_use]
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = outbox;
        self
    }
}
