//! The call of a handler: time limit, caught panics, and the return or rollback of the transaction.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use outbox::MessageContext;
use sqlx::{Connection as _, Postgres, Transaction};
use statement::Link;
use tokio::{runtime::Handle, sync::Mutex, time::timeout};

use super::Settings;
use crate::{
    HandlerError, TransactionError,
    context::TransactionGuard,
    server_error,
    sql::{self, session::TxIdentity, step},
};

/// Longest wait for a rollback, which first waits for a statement that the handler has abandoned.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for another session that cancels this session's statement or ends this session.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// Calls a handler; returns the transaction if the handler succeeded, and rolls back otherwise. Messages
/// that the handler publishes inherit `inherited`.
pub(crate) async fn work<H, Fut>(
    settings: &Settings,
    tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
    inherited: MessageContext,
    handler: H,
) -> Result<Transaction<'static, Postgres>, TransactionError>
where
    H: FnOnce(TransactionGuard) -> Fut,
    Fut: Future<Output = Result<(), HandlerError>>,
{
    let shared = Arc::new(Mutex::new(tx));
    let guard = Arc::clone(&shared).lock_owned().await;
    let work = async move { handler(guard).await };
    let work = outbox::context::scope(inherited, AssertUnwindSafe(work).catch_unwind());
    let failure = match timeout(settings.handler_timeout, work).await {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(error))) => Some(error.into()),
        Ok(Err(panic)) => Some(TransactionError::Panicked(panic_text(panic.as_ref()))),
        Err(_) => {
            // A statement may still run, and the rollback would wait for its end.
            let _ = timeout(CANCEL_TIMEOUT, cancel(settings, identity)).await;
            Some(TransactionError::TimedOut(settings.handler_timeout))
        }
    };
    let Some(shared) = Arc::into_inner(shared) else {
        // The handler's guard still exists, so the transaction still locks the message's record.
        let committed = timeout(CANCEL_TIMEOUT, terminate(settings, identity)).await;
        return Err(match committed {
            Ok(Ok(true)) => TransactionError::Ended,
            _ => failure.unwrap_or(TransactionError::Leaked),
        });
    };
    let tx = shared.into_inner();
    match failure {
        // Dropping the future that begins a savepoint ends the whole transaction (sqlx 0.9), and the
        // handler's later statements are committed at once.
        _ if !tx.is_in_transaction() => Err(TransactionError::Ended),
        None => Ok(tx),
        Some(failure) => Err(roll_back(settings, identity, tx, failure).await),
    }
}

/// Cancels the running statement of an attempt that is dropped before its end, as by a layer with a time
/// limit. Otherwise the next attempt would wait for the transaction that recorded the message, and thus for
/// this statement.
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
                let _ = timeout(CANCEL_TIMEOUT, cancel_abandoned(&settings, &identity)).await;
            }));
        }
    }
}

/// Cancels the statement of a session whose connection is held here.
async fn cancel(settings: &Settings, identity: &TxIdentity) -> Result<(), sqlx::Error> {
    let mut tx = settings.begin().await?;
    sql::session::cancel(&mut settings.link(&mut tx), identity.pid).await?;
    tx.commit().await
}

/// Cancels the statement of a session whose connection is being returned to the pool.
async fn cancel_abandoned(settings: &Settings, identity: &TxIdentity) -> Result<(), sqlx::Error> {
    let mut tx = settings.begin().await?;
    let mut link = settings.link(&mut tx);
    sql::session::cancel_within(&mut link, identity.pid, &identity.xid).await?;
    tx.commit().await
}

/// Ends the session if the transaction is still open on it; returns `true` if the transaction was committed.
async fn terminate(settings: &Settings, identity: &TxIdentity) -> Result<bool, sqlx::Error> {
    let mut tx = settings.begin().await?;
    let mut link = settings.link(&mut tx);
    sql::session::terminate(&mut link, identity.pid, &identity.xid).await?;
    let committed = sql::session::is_committed(&mut link, &identity.xid).await?;
    tx.commit().await?;
    Ok(committed)
}

/// Rolls back, and returns the failure to report.
///
/// If the handler had already ended the transaction, the failure becomes [`TransactionError::Ended`]. If the
/// connection was lost, a handler's error that asks for another attempt becomes [`TransactionError::Lost`],
/// since the lost connection is its probable cause.
async fn roll_back(
    settings: &Settings,
    identity: &TxIdentity,
    mut tx: Transaction<'static, Postgres>,
    failure: TransactionError,
) -> TransactionError {
    let rolling_back = async {
        let ended = has_ended_checked(&mut settings.link(&mut tx), identity).await?;
        if server_error::refusals(&failure).any(server_error::is_outdated) {
            tx.clear_cached_statements().await?;
        }
        tx.rollback().await?;
        Ok::<_, sqlx::Error>(ended)
    };
    let Ok(rolled_back) = timeout(ROLLBACK_TIMEOUT, rolling_back).await else {
        let _ = timeout(CANCEL_TIMEOUT, cancel(settings, identity)).await;
        return failure;
    };
    match (rolled_back, failure) {
        (Ok(true), _) => TransactionError::Ended,
        (Err(error), TransactionError::Handler(failure))
            if server_error::is_lost(&error) && !step::is_lost(&error) && failure.is_retry() =>
        {
            TransactionError::Lost(error)
        }
        (_, failure) => failure,
    }
}

/// As [`has_ended`], and ends a session whose answers do not belong to its requests.
async fn has_ended_checked(
    link: &mut Link<'_>,
    identity: &TxIdentity,
) -> Result<bool, sqlx::Error> {
    let ended = has_ended(link, identity).await;
    let is_gone = |error: &sqlx::Error| server_error::is_lost(error) && !step::is_lost(error);
    if ended.as_ref().is_err_and(is_gone) {
        return ended;
    }
    // Checked after an error too, which may have been the answer to an earlier request.
    let checked = step::check(link, &identity.xid).await;
    if checked.is_err() {
        step::end(link).await;
    }
    checked.and(ended)
}

/// Returns `true` if the handler has ended the transaction. After a `COMMIT` the message's record is
/// committed too, and another attempt would take the message for a duplicate.
///
/// If the handler has abandoned a statement, the server answers that statement first: perhaps with an error,
/// perhaps so late that [`roll_back`] cancels the statement.
async fn has_ended(link: &mut Link<'_>, identity: &TxIdentity) -> Result<bool, sqlx::Error> {
    match sql::session::transaction(link).await {
        Ok(xid) => Ok(xid.as_deref() != Some(&identity.xid)),
        Err(error) if server_error::is_lost(&error) => Err(error),
        // A statement failed, in this transaction or in a later one that the handler has begun.
        Err(_) => {
            sql::session::roll_back_and_begin(link).await?;
            sql::session::is_committed(link, &identity.xid).await
        }
    }
}

/// Returns a panic's text.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}
