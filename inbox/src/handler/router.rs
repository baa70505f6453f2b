//! Dispatch of messages to handlers.

mod insert;

use std::{collections::HashMap, fmt, sync::Arc, task, task::Poll};

use futures_util::future::BoxFuture;
use outbox::{EventType, MessageContext};
use serde::de::DeserializeOwned;
use tower_service::Service;
use uuid::Uuid;

use super::{
    BatchContext, Disposition, HandlerError, KeptReplies,
    versions::{Route, Step, VersionMistake, Versions},
};
use crate::{Context, Delivery};

type HandlerFuture = BoxFuture<'static, Result<(), HandlerError>>;

/// A delivery, and the steps from its version to the handler's.
type DeliveryWithSteps = (Delivery, Vec<Step>);

/// A handler whose event type is erased; it decodes the body itself, after the steps to its version.
#[derive(Clone)]
struct Erased {
    call: Call,
    /// Decodes the body as the handler's event, after the steps to its version.
    read: fn(&Delivery, &[Step]) -> Result<(), HandlerError>,
}

/// The call of a handler.
#[derive(Clone)]
enum Call {
    One(Arc<dyn Fn(Context, Vec<Step>) -> HandlerFuture + Send + Sync>),
    Many(Arc<dyn Fn(BatchContext, Vec<DeliveryWithSteps>) -> HandlerFuture + Send + Sync>),
}

/// Ability of this process to handle a delivery of a type and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// A handler takes the message.
    Known,
    /// The version is above the newest one that a handler takes, which is this one.
    Newer(u32),
    /// No handler takes the type.
    Unhandled,
}

/// A batch handler: the type that it takes, and the version of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchType {
    name: &'static str,
    version: u32,
}

impl BatchType {
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }
}

/// Dispatches messages to handlers by their type and version.
///
/// The innermost service of a consumer: it runs inside the transaction.
#[derive(Clone, Default)]
pub(crate) struct Router {
    types: HashMap<&'static str, Versions<Erased>>,
    /// Handler of all other types.
    fallback: Option<Erased>,
    /// Keeps replies for those who wait for them; `None` if they are not kept.
    replies: Option<KeptReplies>,
}

impl Router {
    /// Creates a router without handlers.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Keeps replies from now on.
    pub(crate) fn keep_replies(&mut self, replies: KeptReplies) {
        self.replies = Some(replies);
    }

    /// Returns the request that a delivery replies to, if replies are kept.
    fn kept_reply(&self, delivery: &Delivery) -> Option<(KeptReplies, Uuid)> {
        Some((self.replies.clone()?, KeptReplies::request(delivery)?))
    }

    /// Adds a step between two versions of an event; returns `false` if it replaced another step.
    pub(crate) fn insert_step<E: EventType>(&mut self, step: Step) -> bool {
        self.versions::<E>().insert_step(step)
    }

    fn versions<E: EventType>(&mut self) -> &mut Versions<Erased> {
        self.types.entry(E::TYPE).or_default()
    }

    /// Finds the handler of a delivery.
    fn route(&self, delivery: &Delivery) -> Option<(&'static str, Route<'_, Erased>)> {
        let (&name, versions) = self.types.get_key_value(delivery.type_name())?;
        Some((name, versions.route(delivery.message().version)?))
    }

    /// Returns the ability of this process to handle the delivery.
    pub(crate) fn knows(&self, delivery: &Delivery) -> Knowledge {
        match self.route(delivery) {
            Some((_, Route::Known { .. })) => Knowledge::Known,
            Some((_, Route::Newer { newest })) => Knowledge::Newer(newest),
            None if self.fallback.is_some() || self.kept_reply(delivery).is_some() => {
                Knowledge::Known
            }
            None => Knowledge::Unhandled,
        }
    }

    /// Decodes the body as the event of the handler that takes the delivery, after the steps to its version.
    pub(crate) fn read(&self, delivery: &Delivery) -> Result<(), HandlerError> {
        match self.route(delivery) {
            Some((_, Route::Known { handler, steps, .. })) => (handler.read)(delivery, &steps),
            Some((_, Route::Newer { .. })) | None => Ok(()),
        }
    }

    /// Returns `true` if a handler takes all types that have no other one.
    pub(crate) const fn has_fallback(&self) -> bool {
        self.fallback.is_some()
    }

    /// Returns the types that handlers take, each with the newest version.
    pub(crate) fn newest(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let types = self.types.iter();
        types.filter_map(|(&name, versions)| Some((name, versions.newest()?)))
    }

    /// Returns `true` if any handler is a batch handler.
    pub(crate) fn has_many(&self) -> bool {
        let mut handlers = self.types.values().flat_map(Versions::handlers);
        handlers.any(|handler| matches!(handler.call, Call::Many(_)))
    }

    /// Returns the batch handler that takes the delivery, if one does.
    ///
    /// A reply that is kept is handled by itself.
    pub(crate) fn batch_type(&self, delivery: &Delivery) -> Option<BatchType> {
        if self.kept_reply(delivery).is_some() {
            return None;
        }
        match self.route(delivery)? {
            (
                name,
                Route::Known {
                    handler:
                        Erased {
                            call: Call::Many(_),
                            ..
                        },
                    version,
                    ..
                },
            ) => Some(BatchType { name, version }),
            _ => None,
        }
    }

    /// Calls the batch handler that takes all of the deliveries.
    pub(crate) fn call_many(
        &self,
        batch_type: &BatchType,
        context: BatchContext,
        deliveries: Vec<Delivery>,
    ) -> HandlerFuture {
        let versions = self.types.get(batch_type.name);
        let handler = versions.and_then(|versions| versions.handler(batch_type.version));
        let call = handler.map(|handler| &handler.call);
        let (Some(versions), Some(Call::Many(handler))) = (versions, call) else {
            return unhandled(batch_type.name);
        };
        let deliveries = deliveries.into_iter().map(|delivery| {
            let steps = versions.steps(delivery.message().version, batch_type.version);
            (delivery, steps)
        });
        handler(context, deliveries.collect())
    }

    /// Returns the first type whose steps between versions are mistaken.
    pub(crate) fn version_mistake(&self) -> Option<(&'static str, VersionMistake)> {
        let mut types = self.types.iter();
        types.find_map(|(&name, versions)| Some((name, versions.mistake()?)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.types.is_empty() && self.fallback.is_none()
    }
}

impl Service<Context> for Router {
    type Response = ();
    type Error = HandlerError;
    type Future = HandlerFuture;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut context: Context) -> Self::Future {
        let Some((replies, request)) = self.kept_reply(context.delivery()) else {
            return self.dispatch(context);
        };
        let router = self.clone();
        Box::pin(async move {
            let delivery = context.delivery().clone();
            let keeping = replies.keep(context.connection(), request, &delivery);
            keeping.await?;
            if router.has_handler(&delivery) {
                return router.dispatch(context).await;
            }
            Ok(())
        })
    }
}

impl Router {
    /// Returns `true` if a handler takes the delivery's type.
    fn has_handler(&self, delivery: &Delivery) -> bool {
        self.fallback.is_some() || self.route(delivery).is_some()
    }

    /// Calls the handler of a delivery.
    fn dispatch(&self, context: Context) -> HandlerFuture {
        let (handler, steps) = match (self.route(context.delivery()), &self.fallback) {
            (Some((_, Route::Known { handler, steps, .. })), _) => (handler, steps),
            (None, Some(fallback)) => (fallback, Vec::new()),
            _ => return unhandled(context.delivery().type_name()),
        };
        match &handler.call {
            Call::One(handler) => handler(context, steps),
            Call::Many(handler) => {
                let (guard, delivery, outbox) = context.into_parts();
                // A batch of one behaves like a larger one, in which the inbox cannot tell which message
                // caused a published one: nothing is inherited.
                let batch = vec![(delivery, steps)];
                let future = handler(BatchContext::new(guard, outbox), batch);
                Box::pin(outbox::context::scope(MessageContext::new(), future))
            }
        }
    }
}

/// Decodes the body of a delivery, and drops the event.
fn read_as<E: DeserializeOwned>(delivery: &Delivery, steps: &[Step]) -> Result<(), HandlerError> {
    delivery.decode_after::<E>(steps).map(drop)
}

fn unhandled(type_name: &str) -> HandlerFuture {
    let text = format!("no handler takes the type {type_name:?}");
    Box::pin(async { Err(HandlerError::new(Disposition::Unhandled, text)) })
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Router").field(&self.types.keys()).finish()
    }
}
