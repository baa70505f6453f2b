//! The service that runs another one inside a transaction.

use std::{
    mem,
    sync::Arc,
    task::{self, Poll},
};

use futures_util::future::BoxFuture;
use tower_service::Service;

use super::{Settings, TransactionError, enter, enter::Entered, leave, within, work};
use crate::{Context, Delivery, HandlerError, Outcome};

/// Handles each message once: runs a service inside the transaction that records the message.
#[derive(Debug, Clone)]
pub struct Transaction<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Transaction<S> {
    pub(super) const fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    /// Returns the service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Service<Delivery> for Transaction<S>
where
    S: Service<Context, Response = ()> + Clone + Send + 'static,
    S::Error: Into<HandlerError>,
    S::Future: Send,
{
    type Response = Outcome;
    type Error = TransactionError;
    type Future = BoxFuture<'static, Result<Outcome, TransactionError>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), TransactionError>> {
        self.inner
            .poll_ready(cx)
            .map_err(|error| TransactionError::Handler(error.into().into()))
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        // A clone of a ready service is not ready: the ready one is used, its clone stays.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        Box::pin(run(Arc::clone(&self.settings), ready, delivery))
    }
}

async fn run<S>(
    settings: Arc<Settings>,
    service: S,
    delivery: Delivery,
) -> Result<Outcome, TransactionError>
where
    S: Service<Context, Response = ()>,
    S::Error: Into<HandlerError>,
{
    let mut tx = within(outbox::transaction::begin(&settings.pool))
        .await
        .map_err(TransactionError::Unavailable)?;
    let session = match enter::enter(&settings, &mut tx, &delivery).await? {
        Entered::Run(session) => session,
        Entered::Settled(outcome) => {
            within(tx.commit())
                .await
                .map_err(TransactionError::Commit)?;
            return Ok(outcome);
        }
    };
    let mut tx = work::work(&settings, service, tx, &session, &delivery).await?;
    leave::check(&mut tx, &session).await?;
    leave::settle(&settings, &mut tx, &delivery).await?;
    within(tx.commit())
        .await
        .map_err(TransactionError::Commit)?;
    Ok(Outcome::Handled)
}
