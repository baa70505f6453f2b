//! Which handler takes a message.

use std::{collections::HashMap, fmt, sync::Arc, task, task::Poll};

use futures_util::future::BoxFuture;
use outbox::Event;
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{Disposition, Handler, HandlerError};
use crate::Context;

type Erased = dyn Fn(Context) -> BoxFuture<'static, Result<(), HandlerError>> + Send + Sync;

/// Dispatches messages to handlers by the name of their type.
///
/// The innermost service of a consumer: it runs inside the transaction.
#[derive(Clone, Default)]
pub struct Router {
    handlers: HashMap<&'static str, Arc<Erased>>,
}

impl Router {
    /// Makes a router without handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the handler of an event; returns whether it is the first one for its type.
    pub(crate) fn insert<E, H, Error>(&mut self, handler: H) -> bool
    where
        E: Event + DeserializeOwned + Send + 'static,
        H: Handler<E, Error>,
        Error: 'static,
    {
        let handler = Arc::new(handler);
        let erased = move |context: Context| -> BoxFuture<'static, Result<(), HandlerError>> {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let event = serde_json::from_slice(context.body())
                    .map_err(|error| HandlerError::new(Disposition::Undecodable, error))?;
                handler.handle(context, event).await
            })
        };
        self.handlers.insert(E::TYPE, Arc::new(erased)).is_none()
    }

    /// Returns whether a handler takes the type.
    pub(crate) fn handles(&self, type_name: &str) -> bool {
        self.handlers.contains_key(type_name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }
}

impl Service<Context> for Router {
    type Response = ();
    type Error = HandlerError;
    type Future = BoxFuture<'static, Result<(), HandlerError>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, context: Context) -> Self::Future {
        let type_name = context.delivery().type_name();
        if let Some(handler) = self.handlers.get(type_name) {
            return handler(context);
        }
        let text = format!("no handler takes the type {type_name:?}");
        Box::pin(async { Err(HandlerError::new(Disposition::Unhandled, text)) })
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Router")
            .field(&self.handlers.keys())
            .finish()
    }
}
