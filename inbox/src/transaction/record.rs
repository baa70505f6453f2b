//! The first statement of a delivery's transaction: recording the id, and checking if an earlier parked message blocks
//! the key.

use chrono::{DateTime, Utc};
use postroom_message::Incoming;
use statement::Link;

use super::Settings;
use crate::{
    Delivery, MessageTime, Outcome, Reason, TransactionError,
    decision::ParkDecision,
    dedup::{Age, Id, is_plausible},
    delivery::Origin,
    parked_row,
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
            record_parked(settings, link, delivery, id, attempts).await
        }
    }
}

/// Locks the row of a parked delivery, whose id was recorded when the message was parked. If the message was outside
/// the dedup window then, its id was recorded apart from the ids of the window, and is recorded among them now.
async fn record_parked(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
    row: i64,
    attempts: i32,
) -> Result<RecordResult, TransactionError> {
    let dated_id = dated_id(delivery);
    let hash = dated_id.map(|(id, _)| id.hash());
    let hash = hash.as_ref().map(<[u8; 32]>::as_slice);
    let locking = sql::parked::lock_claimed(link, row, attempts, hash);
    let locked = super::with_answer_timeout(locking)
        .await
        .map_err(TransactionError::Unavailable)?;
    let Some(locked) = locked else {
        return Ok(RecordResult::Done(Outcome::Gone));
    };
    if locked.was_outside_window
        && let Some((message_id, made_at)) = dated_id
        && record_or_find_copy(settings, link, &message_id, made_at).await?
    {
        let removing = parked_row::remove(link, &settings.consumer, row, delivery);
        super::with_answer_timeout(removing)
            .await
            .map_err(TransactionError::Unavailable)?;
        return Ok(RecordResult::Done(Outcome::Gone));
    }
    Ok(RecordResult::Run(TxIdentity {
        xid: locked.xid,
        pid: locked.pid,
        role: Some(locked.role),
    }))
}

/// Returns the delivery's id and the time in it; `None` if the id contains no time.
fn dated_id(delivery: &Delivery) -> Option<(Id, DateTime<Utc>)> {
    let message = delivery.message();
    let id = Id::new(message.message_id.as_deref()?, message.source.as_deref());
    Some((id, id.made_at()?))
}

/// Records the id of a parked message that was outside the dedup window when it was parked. Returns `true` if the id
/// is recorded already: a copy of the message has been handled.
///
/// A message that was too far in the future enters the window as time passes. Its id is then recorded in the ring,
/// where a copy of the message finds the record. Before that the message must not run, since a copy that arrives later
/// would not find the record. It runs at once if it enters the window only after the time for which ids are kept, since
/// a copy that arrives even later is not recognised of any message. A message that is too old runs without a record in
/// the ring: its copies are never handled, and the leaf of its day may be about to be truncated.
///
/// # Errors
/// [`TransactionError::Early`] if the message has to wait for its time.
async fn record_or_find_copy(
    settings: &Settings,
    link: &mut Link<'_>,
    id: &Id,
    made_at: DateTime<Utc>,
) -> Result<bool, TransactionError> {
    let asking = super::with_answer_timeout(sql::session::now(link));
    let now = asking.await.map_err(TransactionError::Unavailable)?;
    match settings.window.age(made_at, now) {
        Age::InWindow => {}
        Age::Stale => return Ok(false),
        Age::Future => {
            return match settings.window.wait(made_at, now) {
                Some(wait) => Err(TransactionError::Early(made_at, wait)),
                None => Ok(false),
            };
        }
    }
    let record = id.record();
    let recording = sql::processed::record(link, &settings.consumer, &record, None);
    let recorded = settings.wait_for_record(recording).await;
    let recorded = recorded.map_err(TransactionError::Unavailable)?;
    Ok(!recorded.is_new)
}

/// Records the id of a message from the queue, and parks the message if an earlier parked message blocks its key.
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
    if let Some(time) = time_of(&id, message) {
        let (MessageTime::Id(written_at) | MessageTime::Property(written_at)) = time;
        match settings.window.age(written_at, recorded.now) {
            Age::InWindow => {}
            Age::Stale => return Err(TransactionError::Stale(time)),
            Age::Future => return Err(TransactionError::Future(time)),
        }
    }
    if let (Some(key), true) = (key, recorded.held) {
        let parked = super::with_answer_timeout(park_behind(settings, link, delivery, key))
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

/// Returns the time that says if a message is inside the dedup window: the one in its id, or else in its properties.
fn time_of(id: &Id, message: &Incoming) -> Option<MessageTime> {
    let property = || message.occurred_at.filter(|time| is_plausible(*time));
    let made_at = id.made_at().map(MessageTime::Id);
    made_at.or_else(|| property().map(MessageTime::Property))
}

/// Parks the message behind the parked message that blocks its key; returns `false` if no message blocks the key any
/// more.
async fn park_behind(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
    key: &str,
) -> Result<bool, sqlx::Error> {
    if !sql::parked::lock_holder(link, &settings.consumer, key).await? {
        return Ok(false);
    }
    let (attempts, error) = (0, None);
    let decision = ParkDecision::behind(attempts, error);
    parked_row::insert(link, &settings.consumer, delivery, &decision).await?;
    Ok(true)
}
