//! Settings of the handlers and of the tower layers around them.

use std::error::Error;

use outbox::{EventType, Outbox, assert_valid_event};
use serde::Deserialize;
use tower::{ServiceExt, util::BoxCloneSyncService};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

use crate::{
    Attempted, BatchHandler, ConsumerBuilder, Context, Delivery, DeliveryService, Fate, Handler,
    HandlerFuture, HandlerService, HasFate, Incoming,
    delivery_span::DeliverySpans,
    extract::{BatchExtractors, Extractors},
    handler::BoxError,
};

impl<S> ConsumerBuilder<S> {
    /// Adds an async function as the handler of events `E`, and binds the queue to their topic.
    ///
    /// The function takes a [`Context`], up to eight [extractors](crate::extract) and the event, in this order.
    ///
    /// A message is dispatched by its type (`E::TYPE`), whatever its topic, and by its version: to the handler of
    /// that version (`E::VERSION`), or else of the next later version that has a handler. [`upcast`](Self::upcast)
    /// brings an older body to that version; without it, the body is parsed as it is. A message whose version is
    /// above that of every handler waits, and holds its key, until a process runs that knows its version. The body is
    /// parsed as JSON.
    ///
    /// The event is any [`EventType`] with `Deserialize`; only publishers need an [`Event`](outbox::Event) with
    /// `Serialize` and a key. The compiler refuses an event whose topic or type is not allowed, such as a topic with
    /// a wildcard, for which there is [`bind`](Self::bind):
    ///
    /// ```compile_fail,E0080
    /// use inbox::{ConsumerBuilder, Context, HandlerError};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct OrderChanged {
    ///     id: i64,
    /// }
    ///
    /// impl outbox::EventType for OrderChanged {
    ///     const TOPIC: &'static str = "orders.*"; // holds a wildcard
    /// }
    ///
    /// async fn invoice(_: Context, _: OrderChanged) -> Result<(), HandlerError> {
    ///     Ok(())
    /// }
    ///
    /// fn handlers(builder: ConsumerBuilder) -> ConsumerBuilder {
    ///     builder.on(invoice)
    /// }
    /// # fn main() {
    /// #     handlers(inbox::Consumer::builder("billing"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// `build` returns [`BuildError::TwoHandlers`](crate::BuildError::TwoHandlers) if another handler takes
    /// the same type in the same version, and [`BuildError::NoHandler`](crate::BuildError::NoHandler) if no handler
    /// was added.
    pub fn on<E, H, M>(self, handler: H) -> Self
    where
        E: EventType + for<'de> Deserialize<'de> + Send + 'static,
        H: Handler<E, M, Future: HandlerFuture> + Send + Sync + 'static,
        M: Extractors<S> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        const { assert_valid_event::<E>() }
        self.add(E::VERSION, handler)
    }

    /// Adds a handler as [`on`](Self::on) does, for a version other than `E::VERSION`.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    pub fn on_version<E, H, M>(self, version: u32, handler: H) -> Self
    where
        E: EventType + for<'de> Deserialize<'de> + Send + 'static,
        H: Handler<E, M, Future: HandlerFuture> + Send + Sync + 'static,
        M: Extractors<S> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        const { assert_valid_event::<E>() }
        self.add(version, handler)
    }

    fn add<E, H, M>(mut self, version: u32, handler: H) -> Self
    where
        E: EventType + for<'de> Deserialize<'de> + Send + 'static,
        H: Handler<E, M, Future: HandlerFuture> + Send + Sync + 'static,
        M: Extractors<S> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let (state, keys) = (self.state.clone(), self.keys.slot::<E>(E::TYPE));
        if !self.router.insert(version, handler, state, keys) {
            self.duplicate_type = Some(E::TYPE);
        }
        self.bind(E::TOPIC)
    }

    /// Adds an async function as the handler of all messages whose type has no other handler: for a consumer that
    /// copies, counts or forwards whatever comes.
    ///
    /// The function takes a [`Context`], up to eight [extractors](crate::extract) and the [`Delivery`] in place of an
    /// event. Nothing is decoded, and no topic is bound: [`bind`](Self::bind)`("#")` brings every message of the
    /// exchange. A message of a type that has a handler, but in a newer version, still waits for a process that
    /// knows the version.
    ///
    /// # Errors
    /// `build` returns [`BuildError::TwoFallbacks`](crate::BuildError::TwoFallbacks) if the consumer has a fallback
    /// already.
    pub fn fallback<H, M>(mut self, handler: H) -> Self
    where
        H: Handler<Delivery, M, Future: HandlerFuture> + Send + Sync + 'static,
        M: Extractors<S> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        if !self.router.set_fallback(handler, self.state.clone()) {
            self.has_two_fallbacks = true;
        }
        self
    }

    /// Adds an async function that handles many events `E` at once, and binds the queue to their topic.
    /// The function takes a [`BatchContext`](crate::BatchContext), up to eight
    /// [`State`](crate::extract::State) and a list of events, in this order.
    ///
    /// A batch consists of the messages that waited while the workers were busy, up to
    /// [`messages_per_transaction`](Self::messages_per_transaction), in the order of the queue, and has one
    /// transaction. If the transaction fails for any reason, each of its messages is handled again
    /// separately, as a batch of one, so that a failing message does not affect the others.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    pub fn on_many<E, H, M>(mut self, handler: H) -> Self
    where
        E: EventType + for<'de> Deserialize<'de> + Send + 'static,
        H: BatchHandler<E, M, Future: HandlerFuture> + Send + Sync + 'static,
        M: BatchExtractors<S> + 'static,
        S: Clone + Send + Sync + 'static,
    {
        const { assert_valid_event::<E>() }
        let (state, keys) = (self.state.clone(), self.keys.slot::<E>(E::TYPE));
        if !self.router.insert_many(E::VERSION, handler, state, keys) {
            self.duplicate_type = Some(E::TYPE);
        }
        self.bind(E::TOPIC)
    }

    /// Adds a classifier of errors, which chooses what becomes of a message whose handler, or a layer around it,
    /// returned an error.
    ///
    /// The classifier is called with the error and with each of its sources, from the outside in, until a classifier
    /// returns a [`Fate`]; those added first are asked first. Without an answer the message gets another attempt.
    ///
    /// - A handler's own choice, such as [`HandlerError::reject`](crate::HandlerError::reject), counts more.
    /// - A conflict with another transaction (SQLSTATE 40001, 40P01) and a lost connection run the message again,
    ///   whatever a classifier says about the error.
    ///
    /// An `anyhow::Error` shows the error inside and its sources. An error given to `anyhow`'s `context` is a text to
    /// the chain; wrap the error itself.
    pub fn classify<F>(mut self, classifier: F) -> Self
    where
        F: Fn(&(dyn Error + 'static)) -> Option<Fate> + Send + Sync + 'static,
    {
        self.fates.add(classifier);
        self
    }

    /// Adds the classifier of an error type that names the fate itself, as [`classify`](Self::classify) does.
    pub fn classify_as<E: HasFate + 'static>(self) -> Self {
        self.classify(|error| error.downcast_ref().map(E::fate))
    }

    /// Adds a tower layer around the handlers and the layers added before. The layer runs inside the message's
    /// transaction, as part of the handler: its work commits together with the handler's or not at all, it may
    /// set the tenant with `SET LOCAL`, and [`handler_timeout`](Self::handler_timeout) ends it too.
    ///
    /// - An error that the layer itself creates fails the attempt, as an error of the handler does. An error
    ///   that has the handler's [`HandlerFailure`](crate::HandlerFailure) among its sources has the meaning of
    ///   that failure.
    /// - `Ok` commits, also if the layer returns it in place of an error or without calling the handler.
    /// - A layer that decrypts or unpacks bodies passes on the result of
    ///   [`Context::with_body`](crate::Context::with_body).
    ///
    /// # Errors
    /// `build` returns [`BuildError::LayerOfMany`](crate::BuildError::LayerOfMany) if a handler was added with
    /// [`on_many`](Self::on_many): its calls take many messages.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + 'static,
        L::Service: Service<Context, Response = ()> + Clone + Send + Sync + 'static,
        <L::Service as Service<Context>>::Error: Into<BoxError>,
        <L::Service as Service<Context>>::Future: Send,
    {
        self.layers.push(Box::new(move |inner| {
            BoxCloneSyncService::new(layer.layer(inner).map_err(Into::into))
        }));
        self
    }

    /// Adds a tower layer that admits deliveries to their transactions, around the admission layers added
    /// before: limits of rate or concurrency, load shedding, a circuit breaker. Each attempt passes the layer.
    ///
    /// - The inner service answers with [`Attempted`](crate::Attempted), also after a failure. So a layer can
    ///   see a failure, and repeat the attempt, but cannot hide it.
    /// - An error is the layer's own and fails the attempt; the message is parked after the usual attempts.
    /// - A layer that drops an attempt, as a time limit does, gives up the answer but not the work: the
    ///   transaction runs to its end, and the next attempt waits for it. Use
    ///   [`handler_timeout`](Self::handler_timeout) to limit handlers.
    /// - No time limit ends the layer itself. An attempt that takes minutes longer than a handler may is
    ///   logged, and counted in `postroom_inbox_stuck_attempts_total`.
    ///
    /// With an admission layer each transaction begins on a connection of the pool: one round trip more than
    /// without.
    ///
    /// # Errors
    /// `build` returns [`BuildError::AdmissionOfMany`](crate::BuildError::AdmissionOfMany) if messages share
    /// transactions ([`messages_per_transaction`](Self::messages_per_transaction)).
    pub fn admission_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<DeliveryService> + Send + 'static,
        L::Service: Service<Delivery, Response = Attempted> + Clone + Send + Sync + 'static,
        <L::Service as Service<Delivery>>::Error: Into<BoxError>,
        <L::Service as Service<Delivery>>::Future: Send,
    {
        self.admission_layers.push(Box::new(move |inner| {
            BoxCloneSyncService::new(layer.layer(inner).map_err(Into::into))
        }));
        self
    }

    /// Sets the function that makes the span of each attempt's delivery. Defaults to a span `delivery` at the level `INFO`
    /// with the fields `consumer`, `message_id`, `topic` and `key`.
    ///
    /// With the feature `opentelemetry` the span becomes a child of the publisher's, whoever makes it. Log lines of the
    /// inbox about the delivery name no fields of their own: the span should have them.
    pub fn make_span<F>(mut self, make: F) -> Self
    where
        F: Fn(&Incoming) -> Span + Send + Sync + 'static,
    {
        self.spans = DeliverySpans::by(make);
        self
    }

    /// Sets the outbox through which [`Context::publish`](crate::Context::publish) publishes. Defaults to
    /// `Outbox::new()`.
    pub fn outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = outbox;
        self
    }
}
