//! The handler's turn: a deadline, a net for panics, and the transaction back.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use outbox::{MessageContext, link::Link};
use sqlx::{Connection as _, Postgres, Transaction};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use super::{Settings, TransactionError, TxIdentity};
use crate::{
    HandlerError,
    sql::{self, step},
};

/// An open transaction, lent to a handler: it goes back when this is dropped.
pub(crate) type TransactionGuard = OwnedMutexGuard<Transaction<'static, Postgres>>;

/// Longest wait for a statement that a handler has given up.
const GIVEN_UP: Duration = Duration::from_secs(5);

/// Longest wait for another session, which ends what runs on this one.
const OTHER_SESSION: Duration = Duration::from_secs(2);

/// Calls a handler; returns the transaction if it succeeded, and rolls back if not. What the
/// handler publishes inherits `inherited`.
pub(crate) async fn work<H, W>(
    settings: &Settings,
    tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
    inherited: MessageContext,
    handler: H,
) -> Result<Transaction<'static, Postgres>, TransactionError>
where
    H: FnOnce(TransactionGuard) -> W,
    W: Future<Output = Result<(), HandlerError>>,
{
    let slot = Arc::new(Mutex::new(tx));
    let guard = Arc::clone(&slot).lock_owned().await;
    let work = async move { handler(guard).await };
    let work = outbox::context::scope(inherited, AssertUnwindSafe(work).catch_unwind());
    let failure = match timeout(settings.handler_timeout, work).await {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(error))) => Some(error.into()),
        Ok(Err(panic)) => Some(TransactionError::Panicked(panic_text(panic.as_ref()))),
        Err(_) => {
            // A statement may still run; the rollback would wait for its end.
            let _ = timeout(OTHER_SESSION, cancel(settings, identity)).await;
            Some(TransactionError::TimedOut(settings.handler_timeout))
        }
    };
    let Some(slot) = Arc::into_inner(slot) else {
        // Somebody still has the transaction, and with it the lock on the message's record.
        let committed = timeout(OTHER_SESSION, terminate(settings, identity)).await;
        return Err(match committed {
            Ok(Ok(true)) => TransactionError::Ended,
            _ => failure.unwrap_or(TransactionError::Leaked),
        });
    };
    let tx = slot.into_inner();
    match failure {
        // A savepoint whose `begin` is given up midway takes the transaction with it (sqlx 0.9), and what
        // the handler does then is committed at once.
        _ if !tx.is_in_transaction() => Err(TransactionError::Ended),
        None => Ok(tx),
        Some(failure) => Err(roll_back(settings, identity, tx, failure).await),
    }
}

/// Cancels the statement of an attempt that is dropped midway, as by a layer with a time limit. The next attempt
/// would wait for what has recorded the message, and that for whatever the statement waits for.
pub(super) struct CancelOnDrop(Option<(Arc<Settings>, TxIdentity)>);

impl CancelOnDrop {
    pub(super) fn new(settings: &Arc<Settings>, identity: &TxIdentity) -> Self {
        Self(Some((Arc::clone(settings), identity.clone())))
    }

    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let (Some((settings, identity)), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn(async move {
                let _ = timeout(OTHER_SESSION, cancel_abandoned(&settings, &identity)).await;
            }));
        }
    }
}

/// Ends the statement of a session that is held here.
async fn cancel(settings: &Settings, identity: &TxIdentity) -> Result<(), sqlx::Error> {
    let mut tx = settings.begin().await?;
    sql::session::cancel(&mut settings.link(&mut tx), identity.pid).await?;
    tx.commit().await
}

/// Ends the statement of a session that is on its way back to the pool.
async fn cancel_abandoned(settings: &Settings, identity: &TxIdentity) -> Result<(), sqlx::Error> {
    let mut tx = settings.begin().await?;
    let mut link = settings.link(&mut tx);
    sql::session::cancel_within(&mut link, identity.pid, &identity.xid).await?;
    tx.commit().await
}

/// Ends the session, if it is still in the transaction; returns whether that has been committed.
async fn terminate(settings: &Settings, identity: &TxIdentity) -> Result<bool, sqlx::Error> {
    let mut tx = settings.begin().await?;
    let mut link = settings.link(&mut tx);
    sql::session::terminate(&mut link, identity.pid, &identity.xid).await?;
    let committed = sql::session::is_committed(&mut link, &identity.xid).await?;
    tx.commit().await?;
    Ok(committed)
}

/// Rolls back; a handler's error after which that is impossible is the lost connection's, and one after
/// which there is nothing to roll back is that of ending the transaction.
async fn roll_back(
    settings: &Settings,
    identity: &TxIdentity,
    mut tx: Transaction<'static, Postgres>,
    failure: TransactionError,
) -> TransactionError {
    let rolling_back = async {
        let ended = in_step(&mut settings.link(&mut tx), identity).await?;
        if sql::refusals(&failure).any(sql::is_outdated) {
            tx.clear_cached_statements().await?;
        }
        tx.rollback().await?;
        Ok::<_, sqlx::Error>(ended)
    };
    let Ok(rolled_back) = timeout(GIVEN_UP, rolling_back).await else {
        let _ = timeout(OTHER_SESSION, cancel(settings, identity)).await;
        return failure;
    };
    match (rolled_back, failure) {
        (Ok(true), _) => TransactionError::Ended,
        (Err(error), TransactionError::Handler(failure))
            if sql::is_lost(&error) && !step::is_lost(&error) && failure.is_retry() =>
        {
            TransactionError::Lost(error)
        }
        (_, failure) => failure,
    }
}

/// As [`has_ended`]; ends a session that answers something else.
async fn in_step(link: &mut Link<'_>, identity: &TxIdentity) -> Result<bool, sqlx::Error> {
    let ended = has_ended(link, identity).await;
    let is_gone = |error: &sqlx::Error| sql::is_lost(error) && !step::is_lost(error);
    if ended.as_ref().is_err_and(is_gone) {
        return ended;
    }
    // Also after a refusal: it may have been that of the request before.
    let checked = step::check(link, &identity.xid).await;
    if checked.is_err() {
        step::end(link).await;
    }
    checked.and(ended)
}

/// Whether the handler has ended the transaction, and with it what it has recorded: were the message
/// handled again, it would be taken for a duplicate.
///
/// A statement that the handler has given up is answered first. That may be an error, which is the
/// handler's own, or take long: then the statement is cancelled.
async fn has_ended(link: &mut Link<'_>, identity: &TxIdentity) -> Result<bool, sqlx::Error> {
    match sql::session::transaction(link).await {
        Ok(xid) => Ok(xid.as_deref() != Some(&identity.xid)),
        Err(error) if sql::is_lost(&error) => Err(error),
        // A failed statement, in this transaction or in what the handler has begun after it.
        Err(_) => {
            sql::session::roll_back_and_begin(link).await?;
            sql::session::is_committed(link, &identity.xid).await
        }
    }
}

/// Returns what a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}
