//! The call of a handler within its time, and the idempotency keys that the call asks to record.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};

use super::Settings;
use crate::{
    TransactionError,
    idempotency::DuplicateKey,
    server_error,
    sql::{self, idempotency::RecordedKeys, session::TxIdentity},
    transaction_guard::KeyRequest,
};

/// `in_failed_sql_transaction`
const ABORTED: &str = "25P02";

/// Why a call did not return.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The handler's time was over.
    TimedOut,
    /// The keys could not be recorded; the handler was not called.
    NotRecorded(TransactionError),
}

/// Runs the call of a handler, at most for the handler's time. Records the keys that the call asks for, and adds those
/// that another message had recorded to `duplicates`. The wait for another transaction with one of the keys takes no
/// time of the handler.
pub(super) async fn run_call<T>(
    settings: &Settings,
    identity: &TxIdentity,
    requests: Option<oneshot::Receiver<KeyRequest>>,
    mut call: Pin<&mut impl Future<Output = T>>,
    duplicates: &mut Vec<DuplicateKey>,
) -> Result<T, Interrupted> {
    let limit = settings.handler_timeout;
    let Some(requests) = requests else {
        return within(limit, call).await;
    };
    let began = Instant::now();
    let request = tokio::select! {
        returned = within(limit, &mut call) => return returned,
        // The sender is dropped if the call asks for nothing.
        Ok(request) = requests => request,
    };
    let left = limit.saturating_sub(began.elapsed());
    tokio::select! {
        // A layer around the handler may have a limit of its own.
        returned = &mut call => return Ok(returned),
        // Boxed: the future is large, and most calls have no keys.
        recorded = Box::pin(record(settings, identity, request, duplicates)) => {
            recorded.map_err(Interrupted::NotRecorded)?;
        }
    }
    within(left, call).await
}

async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, Interrupted> {
    timeout(limit, call)
        .await
        .map_err(|_| Interrupted::TimedOut)
}

/// Records the keys of a request, answers it, and adds the duplicates.
async fn record(
    settings: &Settings,
    identity: &TxIdentity,
    request: KeyRequest,
    duplicates: &mut Vec<DuplicateKey>,
) -> Result<(), TransactionError> {
    let KeyRequest {
        mut guard,
        keys,
        answer,
    } = request;
    let mut link = settings.link(&mut guard);
    let recording = sql::idempotency::record(&mut link, &settings.consumer, &keys, &identity.xid);
    // If another process is handling an event with one of the keys, this waits for the end of its transaction.
    let recorded = settings.wait_for_record(recording).await;
    let recorded: RecordedKeys = recorded.map_err(|error| {
        match server_error::state(&error).as_deref() {
            // By a layer around the handler.
            Some(ABORTED) => TransactionError::Aborted(error),
            _ => TransactionError::Unavailable(error),
        }
    })?;
    if recorded.xid.as_deref() != Some(&identity.xid) {
        return Err(TransactionError::Ended);
    }
    let known = keys.keys.into_iter().enumerate();
    let known = known.filter(|(index, _)| !recorded.is_new(*index));
    let known = known.map(|(_, key)| DuplicateKey {
        type_name: keys.type_name,
        key,
    });
    let before = duplicates.len();
    duplicates.extend(known);
    let positions = duplicates[before..].iter().map(|known| known.key.position);
    // A call that a layer has dropped takes no answer, and its transaction is here again.
    drop(answer.send((guard, positions.collect())));
    Ok(())
}
