//! The call of a handler: time limit, caught panics, and the return or rollback of the transaction.

use std::{any::Any, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use outbox::MessageContext;
use sqlx::{Connection as _, Postgres, Transaction};
use tokio::{
    sync::{Mutex, oneshot},
    time::timeout,
};

use super::{
    Settings,
    keys::{Interrupted, run_call},
};
use crate::{
    HandlerError, HandlerFailure, TransactionError,
    idempotency::DuplicateKey,
    server_error,
    sql::{self, late_answer, session::TxIdentity},
    transaction_guard::TransactionGuard,
};

/// Longest wait for a rollback, which first waits for a statement that the handler has abandoned.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for another session that ends this one.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The transaction after the call of a handler that succeeded.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) tx: Transaction<'static, Postgres>,
    /// The events that the handler was not given, since they are duplicates by meaning.
    pub(super) duplicates: Vec<DuplicateKey>,
}

/// Calls a handler; returns the transaction if the handler succeeded. Messages that the handler publishes
/// inherit `inherited`.
///
/// After a plain error the transaction is rolled back. After anything that leaves the session in an unknown
/// state (a time-out, a panic, a context that still exists, a session that gives no proper answer), the
/// session is ended.
pub(super) async fn call<H, Fut>(
    settings: &Settings,
    tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
    inherited: MessageContext,
    handler: H,
) -> Result<Called, TransactionError>
where
    H: FnOnce(TransactionGuard) -> Fut,
    Fut: Future<Output = Result<(), HandlerError>>,
{
    let shared = Arc::new(Mutex::new(tx));
    let (sender, requests) = settings.has_keys.then(oneshot::channel).unzip();
    let guard = TransactionGuard::new(Arc::clone(&shared).lock_owned().await, sender);
    let work = async move {
        let result = handler(guard).await;
        result.map_err(|error| HandlerFailure::new(error, &settings.fates))
    };
    let mut duplicates = Vec::new();
    let returned = {
        let work = AssertUnwindSafe(work).catch_unwind();
        let work = pin!(outbox::context::scope(inherited, work));
        // Dropped at the end of this block, and with it the handler's guard.
        run_call(settings, identity, requests, work, &mut duplicates).await
    };
    let returned = match returned {
        Ok(Ok(returned)) => returned.map_err(TransactionError::from),
        Ok(Err(panic)) => {
            let panicked = TransactionError::Panicked(panic_text(panic.as_ref()));
            return Err(end_session(settings, identity, panicked).await);
        }
        Err(Interrupted::TimedOut) => {
            let timed_out = TransactionError::TimedOut(settings.handler_timeout);
            return Err(end_session(settings, identity, timed_out).await);
        }
        Err(Interrupted::NotRecorded(error)) => Err(error),
    };
    let Some(shared) = Arc::into_inner(shared) else {
        // The handler's guard still exists, so the transaction still locks the message's record.
        let failure = returned.err().unwrap_or(TransactionError::Leaked);
        return Err(end_session(settings, identity, failure).await);
    };
    let tx = shared.into_inner();
    match returned {
        // Dropping the future that begins a savepoint ends the whole transaction (sqlx 0.9), and the
        // handler's later statements are committed at once.
        _ if !tx.is_in_transaction() => Err(TransactionError::Ended),
        Ok(()) => Ok(Called { tx, duplicates }),
        Err(failure) => Err(roll_back(settings, identity, tx, failure).await),
    }
}

/// Rolls back after a handler's error, and returns the failure to report.
///
/// If the handler had already ended the transaction, the failure becomes [`TransactionError::Ended`]. If the
/// connection was lost, the error becomes [`TransactionError::Lost`], since the lost connection is its probable
/// cause, unless the handler itself rejected or deferred the message.
async fn roll_back(
    settings: &Settings,
    identity: &TxIdentity,
    mut tx: Transaction<'static, Postgres>,
    failure: TransactionError,
) -> TransactionError {
    let rolling_back = async {
        let mut link = settings.link(&mut tx);
        let ended = sql::session::ended_by_handler(&mut link, &identity.xid).await;
        if ended.as_ref().is_err_and(late_answer::is_late) {
            late_answer::end(&mut link).await;
        }
        let ended = ended?;
        if server_error::refusals(&failure).any(server_error::is_outdated) {
            tx.clear_cached_statements().await?;
        }
        tx.rollback().await?;
        Ok(ended)
    };
    let Ok(rolled_back) = timeout(ROLLBACK_TIMEOUT, rolling_back).await else {
        return end_session(settings, identity, failure).await;
    };
    match (rolled_back, failure) {
        (Ok(true), _) => TransactionError::Ended,
        (Err(error), TransactionError::Handler(failure))
            if server_error::is_lost(&error)
                && !late_answer::is_late(&error)
                && failure.may_be_lost_connection() =>
        {
            TransactionError::Lost(error)
        }
        (_, failure) => failure,
    }
}

/// Ends the session in which the transaction is still open, and returns the failure to report. Its running
/// statement would otherwise hold the message's record for as long as the statement takes.
///
/// If the transaction was committed, by the handler, the failure becomes [`TransactionError::Ended`].
async fn end_session(
    settings: &Settings,
    identity: &TxIdentity,
    failure: TransactionError,
) -> TransactionError {
    let ending = async {
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        sql::session::terminate(&mut link, identity.pid, &identity.xid).await?;
        let committed = sql::session::is_committed(&mut link, &identity.xid).await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>(committed)
    };
    match timeout(END_TIMEOUT, ending).await {
        Ok(Ok(true)) => TransactionError::Ended,
        _ => failure,
    }
}

/// Returns a panic's text.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}
