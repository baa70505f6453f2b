//! Adding handlers to a router: their event types are erased here.

use std::sync::Arc;

use outbox::EventType;
use serde::de::DeserializeOwned;

use super::{
    super::{
        BatchHandler, Handler, HandlerFuture as _, Received, Step,
        extract::{BatchExtractors, Extractors},
        keys::KeySlot,
    },
    Call, DeliveryWithSteps, Erased, HandlerFuture, Router, read_as,
};
use crate::{BatchContext, Context, Delivery};

impl Router {
    /// Adds the handler of an event in a version; returns `false` if it replaced another handler. `keys` is the place of
    /// the function that makes the event's idempotency key.
    pub(crate) fn insert<E, H, M, S>(
        &mut self,
        version: u32,
        handler: H,
        state: S,
        keys: KeySlot<E>,
    ) -> bool
    where
        E: EventType + DeserializeOwned + Send + 'static,
        H: Handler<E, M, Future: crate::HandlerFuture> + Send + Sync + 'static,
        M: Extractors<S> + 'static,
        S: Send + Sync + 'static,
    {
        let shared = Arc::new((handler, state, keys));
        let erased = move |mut context: Context, steps: Vec<Step>| -> HandlerFuture {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let (handler, state, keys) = &*shared;
                let event = context.delivery().decode_after(&steps)?;
                if let Some(key) = keys.key_of(&event, context.delivery()) {
                    let Some(recorded) = context.record_key(key).await? else {
                        return Ok(());
                    };
                    context = recorded;
                }
                let extracted = M::extract(context.delivery(), state)?;
                handler.handle(context, extracted, event).finish().await
            })
        };
        let erased = Erased {
            call: Call::One(Arc::new(erased)),
            read: read_as::<E>,
        };
        self.versions::<E>().insert(version, erased)
    }

    /// Adds a batch handler of an event in a version, as [`Router::insert`] does.
    pub(crate) fn insert_many<E, H, M, S>(
        &mut self,
        version: u32,
        handler: H,
        state: S,
        keys: KeySlot<E>,
    ) -> bool
    where
        E: EventType + DeserializeOwned + Send + 'static,
        H: BatchHandler<E, M, Future: crate::HandlerFuture> + Send + Sync + 'static,
        M: BatchExtractors<S> + 'static,
        S: Send + Sync + 'static,
    {
        let shared = Arc::new((handler, state, keys));
        let erased =
            move |mut context: BatchContext, deliveries: Vec<DeliveryWithSteps>| -> HandlerFuture {
                let shared = Arc::clone(&shared);
                Box::pin(async move {
                    let (handler, state, keys) = &*shared;
                    let events = deliveries.into_iter();
                    let events = events.map(|(delivery, steps)| Received::read(delivery, &steps));
                    let mut events = events.collect::<Result<Vec<_>, _>>()?;
                    if let Some(keys) = keys.keys_of(&events) {
                        (context, events) = context.record_keys(keys, events).await?;
                        if events.is_empty() {
                            return Ok(());
                        }
                    }
                    let extracted = M::extract(state);
                    handler.handle(context, extracted, events).finish().await
                })
            };
        let erased = Erased {
            call: Call::Many(Arc::new(erased)),
            read: read_as::<E>,
        };
        self.versions::<E>().insert(version, erased)
    }

    /// Sets the handler of all types that have no other one; returns `false` if it replaced another handler.
    pub(crate) fn set_fallback<H, M, S>(&mut self, handler: H, state: S) -> bool
    where
        H: Handler<Delivery, M, Future: crate::HandlerFuture> + Send + Sync + 'static,
        M: Extractors<S> + 'static,
        S: Send + Sync + 'static,
    {
        let shared = Arc::new((handler, state));
        let erased = move |context: Context, _: Vec<Step>| -> HandlerFuture {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let (handler, state) = &*shared;
                let extracted = M::extract(context.delivery(), state)?;
                let delivery = context.delivery().clone();
                handler.handle(context, extracted, delivery).finish().await
            })
        };
        let erased = Erased {
            call: Call::One(Arc::new(erased)),
            // The handler takes the delivery itself.
            read: |_, _| Ok(()),
        };
        self.fallback.replace(erased).is_none()
    }
}
