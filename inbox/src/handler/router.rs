//! Dispatch of messages to handlers.

use std::{collections::HashMap, fmt, sync::Arc, task, task::Poll};

use futures_util::future::BoxFuture;
use outbox::{Event, MessageContext};
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{
    BatchContext, BatchHandler, Disposition, Handler, HandlerError, HandlerFuture as _, Received,
    extract::{BatchExtractors, Extractors},
};
use crate::{Context, Delivery};

type HandlerFuture = BoxFuture<'static, Result<(), HandlerError>>;

/// A handler whose event type is erased; it decodes the body itself.
#[derive(Clone)]
enum Erased {
    One(Arc<dyn Fn(Context) -> HandlerFuture + Send + Sync>),
    Many(Arc<dyn Fn(BatchContext, Vec<Delivery>) -> HandlerFuture + Send + Sync>),
}

/// Dispatches messages to handlers by the name of their type.
///
/// The innermost service of a consumer: it runs inside the transaction.
#[derive(Clone, Default)]
pub(crate) struct Router {
    handlers: HashMap<&'static str, Erased>,
}

impl Router {
    /// Creates a router without handlers.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds the handler of an event; returns `false` if it replaced another handler of the type.
    pub(crate) fn insert<E, H, M, S>(&mut self, handler: H, state: S) -> bool
    where
        E: Event + DeserializeOwned + Send + 'static,
        H: Handler<E, M, Future: super::HandlerFuture> + Send + Sync + 'static,
        M: Extractors<S> + 'static,
        S: Send + Sync + 'static,
    {
        let shared = Arc::new((handler, state));
        let erased = move |context: Context| -> HandlerFuture {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let (handler, state) = &*shared;
                let event = context.delivery().decode()?;
                let extracted = M::extract(context.delivery(), state)?;
                handler.handle(context, extracted, event).finish().await
            })
        };
        let erased = Erased::One(Arc::new(erased));
        self.handlers.insert(E::TYPE, erased).is_none()
    }

    /// Adds a batch handler; returns `false` if it replaced another handler of the type.
    pub(crate) fn insert_many<E, H, M, S>(&mut self, handler: H, state: S) -> bool
    where
        E: Event + DeserializeOwned + Send + 'static,
        H: BatchHandler<E, M, Future: super::HandlerFuture> + Send + Sync + 'static,
        M: BatchExtractors<S> + 'static,
        S: Send + Sync + 'static,
    {
        let shared = Arc::new((handler, state));
        let erased = move |context: BatchContext, deliveries: Vec<Delivery>| -> HandlerFuture {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let (handler, state) = &*shared;
                let events = deliveries.into_iter().map(Received::read);
                let events = events.collect::<Result<Vec<_>, _>>()?;
                let extracted = M::extract(state);
                handler.handle(context, extracted, events).finish().await
            })
        };
        let erased = Erased::Many(Arc::new(erased));
        self.handlers.insert(E::TYPE, erased).is_none()
    }

    /// Returns `true` if a handler takes the type.
    pub(crate) fn handles(&self, type_name: &str) -> bool {
        self.handlers.contains_key(type_name)
    }

    /// Returns the types that handlers take.
    pub(crate) fn types(&self) -> Vec<&'static str> {
        self.handlers.keys().copied().collect()
    }

    /// Returns `true` if any handler is a batch handler.
    pub(crate) fn has_many(&self) -> bool {
        let mut handlers = self.handlers.values();
        handlers.any(|handler| matches!(handler, Erased::Many(_)))
    }

    /// Returns `true` if the type's handler is a batch handler.
    pub(crate) fn takes_many(&self, type_name: &str) -> bool {
        matches!(self.handlers.get(type_name), Some(Erased::Many(_)))
    }

    /// Calls the batch handler of a type.
    pub(crate) fn call_many(
        &self,
        type_name: &str,
        context: BatchContext,
        deliveries: Vec<Delivery>,
    ) -> HandlerFuture {
        match self.handlers.get(type_name) {
            Some(Erased::Many(handler)) => handler(context, deliveries),
            _ => unhandled(type_name),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }
}

impl Service<Context> for Router {
    type Response = ();
    type Error = HandlerError;
    type Future = HandlerFuture;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, context: Context) -> Self::Future {
        let type_name = context.delivery().type_name();
        match self.handlers.get(type_name) {
            Some(Erased::One(handler)) => handler(context),
            Some(Erased::Many(handler)) => {
                let (guard, delivery, outbox) = context.into_parts();
                // A batch of one behaves like a larger one, in which the inbox cannot tell which message
                // caused a published one: nothing is inherited.
                let future = handler(BatchContext::new(guard, outbox), vec![delivery]);
                Box::pin(outbox::context::scope(MessageContext::new(), future))
            }
            None => unhandled(type_name),
        }
    }
}

fn unhandled(type_name: &str) -> HandlerFuture {
    let text = format!("no handler takes the type {type_name:?}");
    Box::pin(async { Err(HandlerError::new(Disposition::Unhandled, text)) })
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Router")
            .field(&self.handlers.keys())
            .finish()
    }
}
