//! From a fresh transaction to the handler: the record, and whether the key must wait.

use chrono::{DateTime, Utc};
use outbox::link::Link;

use super::{Settings, TransactionError};
use crate::{
    Delivery, Outcome, Reason,
    dedup::{Age, Id},
    delivery::Origin,
    parked,
    policy::ParkDecision,
    sql,
};

/// The session whose transaction a handler runs in.
#[derive(Debug, Clone)]
pub(crate) struct TxIdentity {
    /// The transaction's id.
    pub(crate) xid: String,
    /// The session's process at the server.
    pub(crate) pid: i32,
    /// The role that locked a parked message's row, to delete it. A handler may take another.
    pub(crate) role: Option<String>,
}

/// What is to happen in the transaction.
#[derive(Debug)]
pub(super) enum RecordResult {
    /// The handler is to run.
    Run(TxIdentity),
    /// Nothing more; what was done is to be committed.
    Done(Outcome),
}

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
                let leaving = super::within(parked::remove(link, &settings.consumer, id, delivery));
                leaving.await.map_err(TransactionError::Unavailable)?;
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

/// The delivery's id, and its time, if it tells one.
fn dated(delivery: &Delivery) -> Option<(Id, DateTime<Utc>)> {
    let message = delivery.message();
    let id = Id::new(message.message_id.as_deref()?, message.source.as_deref());
    Some((id, id.made_at()?))
}

/// Records a parked message whose time has come since where its copies are; returns whether one of them has
/// been handled.
///
/// Until then it is not run: a copy that comes in time would not find it. One whose time is past has none.
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
    let recorded = settings.recorded(recording).await;
    let recorded = recorded.map_err(TransactionError::Unavailable)?;
    Ok(!recorded.is_new)
}

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
    // Another process may be handling the same message: then this waits for its end.
    let recording = sql::processed::record(link, &settings.consumer, &record, key);
    let recorded = settings.recorded(recording).await;
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

/// Parks the message behind the one that holds its key, unless that has left in the meantime.
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
    parked::insert(link, &settings.consumer, delivery, &decision).await?;
    Ok(true)
}
