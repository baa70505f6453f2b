//! The tower service that runs its inner service inside a transaction.

use std::{
    future, mem, panic,
    sync::Arc,
    task::{self, Poll},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tower_service::Service;
use tracing::{Instrument as _, Span};

use super::{Settings, WorkerConnection, alone};
use crate::{Context, Delivery, HandlerError, Outcome, TransactionError};

/// Handles each message once: runs the inner service inside the transaction that records the message.
///
/// A call runs in a task of its own, to its end: a caller that drops the future, as a time limit does, gives
/// up the answer but not the work. Another call with the same message then waits for the first one.
///
/// Created by [`TransactionLayer`](crate::TransactionLayer).
#[derive(Debug, Clone)]
pub struct Transaction<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Transaction<S> {
    pub(super) const fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Service<Delivery> for Transaction<S>
where
    S: Service<Context, Response = ()> + Clone + Send + 'static,
    S::Error: Into<HandlerError>,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = TransactionError;
    type Future = BoxFuture<'static, Result<Outcome, TransactionError>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), TransactionError>> {
        self.inner
            .poll_ready(cx)
            .map_err(|error| error.into().into())
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        // A clone of a ready service is not ready: the ready one is called, and its clone stored.
        let clone = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, clone);
        let settings = Arc::clone(&self.settings);
        let running = async move {
            let handler = |context| ready.call(context).map(|result| result.map_err(Into::into));
            let mut connection = WorkerConnection::default();
            alone::run(&settings, &mut connection, &delivery, handler).await
        };
        let running = running.instrument(Span::current());
        Box::pin(async move {
            match tokio::spawn(running).await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => panic::resume_unwind(panic),
                    // The runtime has ended, and cancelled the task.
                    Err(_) => future::pending().await,
                },
            }
        })
    }
}
