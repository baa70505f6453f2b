//! The tower service that runs its inner service inside a transaction.

use std::{
    mem,
    sync::Arc,
    task::{self, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use tower_service::Service;

use super::{
    Settings, commit, record,
    record::RecordResult,
    within,
    work::{CancelOnDrop, work},
};
use crate::{Context, Delivery, HandlerError, Outcome, TransactionError, policy::Fault, sql};

/// Handles each message once: runs the inner service inside the transaction that records the message.
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

    fn call(&mut self, mut delivery: Delivery) -> Self::Future {
        // A clone of a ready service is not ready: the ready one is called, and its clone stored.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        let slot = delivery.take_slot();
        let witness = delivery.witness().clone();
        let handler = move |context| {
            let mut ready = ready;
            let future = ready.call(context);
            async move { future.await.map_err(Into::into) }
        };
        let settings = Arc::clone(&self.settings);
        Box::pin(async move {
            witness.mark_entered();
            let result = match slot {
                None => run(settings, handler, delivery).await,
                Some(slot) => {
                    let run = move |context| handler(context).boxed();
                    slot.join(delivery, Box::new(run)).await
                }
            };
            result.inspect_err(|error| witness.set_fault(Fault::read(error, None)))
        })
    }
}

/// Handles a delivery in a separate transaction.
async fn run<H, Fut>(
    settings: Arc<Settings>,
    handler: H,
    delivery: Delivery,
) -> Result<Outcome, TransactionError>
where
    H: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), HandlerError>>,
{
    let mut tx = within(settings.begin())
        .await
        .map_err(TransactionError::Unavailable)?;
    let recorded = record::record(&settings, &mut settings.link(&mut tx), &delivery).await;
    let identity = match recorded {
        Err(TransactionError::Unavailable(error)) => {
            let mut link = settings.link(&mut tx);
            let _ = within(sql::session::end_unfit(&mut link, &error)).await;
            return Err(TransactionError::Unavailable(error));
        }
        Err(error) => return Err(error),
        Ok(RecordResult::Run(identity)) => identity,
        Ok(RecordResult::Done(outcome)) => {
            within(tx.commit())
                .await
                .map_err(TransactionError::Commit)?;
            return Ok(outcome);
        }
    };
    let inherited = Context::inherited_by(&delivery);
    let handle = |guard| handler(Context::new(guard, delivery.clone(), settings.outbox));
    let cancel = CancelOnDrop::new(&settings, &identity);
    let worked = work(&settings, tx, &identity, inherited, handle).await;
    cancel.disarm();
    let mut tx = worked?;
    commit::remove_parked(&settings, &mut settings.link(&mut tx), &identity, &delivery).await?;
    commit(&settings, tx, &identity).await?;
    Ok(Outcome::Handled)
}
