//! The first statement of a delivery's transaction: recording the id, and checking whether its key is held.

use chrono::{DateTime, Utc};
use statement::Link;

use super::Settings;
use crate::{
    Delivery, Outcome, Reason, TransactionError,
    dedup::{Age, Id},
    delivery::Origin,
    parked_row,
    policy::ParkDecision,
    sql::{self, session::TxIdentity},
};

/// The next step in the transaction.
#[derive(Debug)]
pub(super) enum RecordResult {
    /// Run the handler.
    Run(TxIdentity),
    /// Commit without running the handler.
    Done(Outcome),
}

/// Records a delivery's id; for a parked delivery, locks its row.
pub(super) async fn record(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
) -> Result<RecordResult, TransactionError> {
    match delivery.origin() {
        Origin::Queue => record_queued(settings, link, delivery).await,
        Origin::Parked { id, attempts } => {
            let dated = dated(delivery);
            let hash = dated.map(|(id, _)| id.hash());
            let hash = hash.as_ref().map(<[u8; 32]>::as_slice);
            let locked = sql::parked::lock_claimed(link, id, attempts, hash);
            let locked = super::within(locked)
                .await
                .map_err(TransactionError::Unavailable)?;
            let Some(locked) = locked else {
                return Ok(RecordResult::Done(Outcome::Gone));
            };
            if locked.outside
                && let Some((dated, made_at)) = dated
                && is_handled(settings, link, &dated, made_at).await?
            {
                let removing =
                    super::within(parked_row::remove(link, &settings.consumer, id, delivery));
                removing.await.map_err(TransactionError::Unavailable)?;
                return Ok(RecordResult::Done(Outcome::Gone));
            }
            Ok(RecordResult::Run(TxIdentity {
                xid: locked.xid,
                pid: locked.pid,
                role: Some(locked.role),
            }))
        }
    }
}

/// Returns the delivery's id and the time in it; `None` if the id contains no time.
fn dated(delivery: &Delivery) -> Option<(Id, DateTime<Utc>)> {
    let message = delivery.message();
    let id = Id::new(message.message_id.as_deref()?, message.source.as_deref());
    Some((id, id.made_at()?))
}

/// Records the id of a parked message that was outside the dedup window when it was parked; returns `true`
/// if a copy of the message has been handled.
///
/// A message that was too far in the future enters the window as time passes, and is then recorded where its
/// copies are recorded. Before that the message must not run, since a copy that arrives later would not find
/// the record. Copies of a message that is too old are never handled, so no record is needed.
///
/// # Errors
/// [`TransactionError::Future`] if the message is still too far in the future.
async fn is_handled(
    settings: &Settings,
    link: &mut Link<'_>,
    id: &Id,
    made_at: DateTime<Utc>,
) -> Result<bool, TransactionError> {
    let now = super::within(sql::session::now(link));
    let now = now.await.map_err(TransactionError::Unavailable)?;
    match settings.window.age(made_at, now) {
        Age::Known => {}
        Age::Stale => return Ok(false),
        Age::Future => return Err(TransactionError::Future),
    }
    let record = id.record();
    let recording = sql::processed::record(link, &settings.consumer, &record, None);
    let recorded = settings.wait_for_record(recording).await;
    let recorded = recorded.map_err(TransactionError::Unavailable)?;
    Ok(!recorded.is_new)
}

/// Records the id of a message from the queue, and parks the message if an earlier one holds its key.
async fn record_queued(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
) -> Result<RecordResult, TransactionError> {
    let message = delivery.message();
    let message_id = message.message_id.as_deref();
    let message_id = message_id.ok_or(TransactionError::NoId)?;
    let id = Id::new(message_id, message.source.as_deref());
    let key = message.key.as_deref();
    let record = id.record();
    // If another process is handling the same message, this waits for the end of its transaction.
    let recording = sql::processed::record(link, &settings.consumer, &record, key);
    let recorded = settings.wait_for_record(recording).await;
    let recorded = recorded.map_err(TransactionError::Unavailable)?;
    if !recorded.is_new {
        return Ok(RecordResult::Done(Outcome::Duplicate));
    }
    if let Some(written_at) = id.made_at().or(message.occurred_at) {
        match settings.window.age(written_at, recorded.now) {
            Age::Known => {}
            Age::Stale => return Err(TransactionError::Stale),
            Age::Future => return Err(TransactionError::Future),
        }
    }
    if let (Some(key), true) = (key, recorded.held) {
        let parked = super::within(park_behind(settings, link, delivery, key))
            .await
            .map_err(TransactionError::Unavailable)?;
        if parked {
            return Ok(RecordResult::Done(Outcome::Parked(Reason::Behind)));
        }
    }
    Ok(RecordResult::Run(TxIdentity {
        xid: recorded.xid,
        pid: recorded.pid,
        role: None,
    }))
}

/// Parks the message behind the one that holds its key; returns `false` if none holds it any more.
async fn park_behind(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
    key: &str,
) -> Result<bool, sqlx::Error> {
    if !sql::parked::lock_holder(link, &settings.consumer, key).await? {
        return Ok(false);
    }
    let decision = ParkDecision::behind(0, None);
    parked_row::insert(link, &settings.consumer, delivery, &decision).await?;
    Ok(true)
}
