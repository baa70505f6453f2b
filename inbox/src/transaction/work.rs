//! The handler's turn: a deadline, a net for panics, and the transaction back.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use sqlx::{Postgres, Transaction};
use tokio::{sync::Mutex, time::timeout};
use tower_service::Service;

use super::{Settings, TransactionError, enter::Session, within};
use crate::{Context, Delivery, HandlerError, handler::Disposition, sql};

/// Longest wait for another session, which ends what runs on this one.
const OTHER_SESSION: Duration = Duration::from_secs(2);

/// Calls the service; returns the transaction if it succeeded, and rolls back if not.
pub(super) async fn work<S>(
    settings: &Settings,
    mut service: S,
    tx: Transaction<'static, Postgres>,
    session: &Session,
    delivery: &Delivery,
) -> Result<Transaction<'static, Postgres>, TransactionError>
where
    S: Service<Context, Response = ()>,
    S::Error: Into<HandlerError>,
{
    let slot = Arc::new(Mutex::new(tx));
    let guard = Arc::clone(&slot).lock_owned().await;
    let context = Context::new(guard, delivery.clone(), settings.outbox);
    let inherited = context.inherited().clone();
    let work = async move {
        service
            .call(context)
            .await
            .map_err(Into::<HandlerError>::into)
    };
    let work = outbox::context::scope(inherited, AssertUnwindSafe(work).catch_unwind());
    let failure = match timeout(settings.handler_timeout, work).await {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(error))) => Some(TransactionError::Handler(error.into())),
        Ok(Err(panic)) => Some(TransactionError::Panicked(panic_text(panic.as_ref()))),
        Err(_) => {
            // A statement may still run; the rollback would wait for its end.
            let cancel = sql::session::cancel(&settings.pool, session.pid);
            let _ = timeout(OTHER_SESSION, cancel).await;
            Some(TransactionError::TimedOut(settings.handler_timeout))
        }
    };
    let Some(slot) = Arc::into_inner(slot) else {
        // Somebody still has the transaction, and with it the lock on the message's record.
        let end = sql::session::terminate(&settings.pool, session.pid, &session.xid);
        let _ = timeout(OTHER_SESSION, end).await;
        return Err(failure.unwrap_or(TransactionError::Leaked));
    };
    let tx = slot.into_inner();
    match failure {
        None => Ok(tx),
        Some(failure) => Err(roll_back(tx, failure).await),
    }
}

/// Rolls back; a handler's error after which that is impossible is the lost connection's.
async fn roll_back(
    tx: Transaction<'static, Postgres>,
    failure: TransactionError,
) -> TransactionError {
    let rolled_back = within(tx.rollback()).await;
    match (rolled_back, failure) {
        (Err(lost), TransactionError::Handler(failure))
            if failure.disposition == Disposition::Retry =>
        {
            TransactionError::Lost(lost)
        }
        (_, failure) => failure,
    }
}

/// Returns what a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}
