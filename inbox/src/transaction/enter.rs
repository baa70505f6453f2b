//! From a fresh transaction to the handler: the record, and whether the key must wait.

use outbox::link::Link;

use super::{Settings, TransactionError};
use crate::{
    Delivery, Outcome, Reason,
    dedup::{Age, Id},
    delivery::Origin,
    parked,
    policy::Verdict,
    sql,
};

/// The session whose transaction a handler runs in.
#[derive(Debug)]
pub(crate) struct Session {
    /// The transaction's id.
    pub(crate) xid: String,
    /// The session's process at the server.
    pub(crate) pid: i32,
}

/// What is to happen in the transaction.
#[derive(Debug)]
pub(super) enum Entered {
    /// The handler is to run.
    Run(Session),
    /// Nothing more; what was done is to be committed.
    Settled(Outcome),
}

pub(super) async fn enter(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
) -> Result<Entered, TransactionError> {
    match delivery.origin() {
        Origin::Queue => record(settings, link, delivery).await,
        Origin::Parked { id, attempts } => {
            let locked = sql::parked::lock_claimed(link, id, attempts);
            let locked = super::within(locked)
                .await
                .map_err(TransactionError::Unavailable)?;
            let Some(locked) = locked else {
                return Ok(Entered::Settled(Outcome::Gone));
            };
            if locked.from_future && is_handled(settings, link, delivery).await? {
                super::within(sql::parked::delete(link, id))
                    .await
                    .map_err(TransactionError::Unavailable)?;
                return Ok(Entered::Settled(Outcome::Gone));
            }
            Ok(Entered::Run(Session {
                xid: locked.xid,
                pid: locked.pid,
            }))
        }
    }
}

/// Records a parked message whose time has come since; returns whether a copy has been handled.
async fn is_handled(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
) -> Result<bool, TransactionError> {
    let message = delivery.message();
    let id = message.message_id.as_deref();
    let id = id.map(|id| Id::new(id, message.source.as_deref()));
    let Some((id, made_at)) = id.and_then(|id| Some((id, id.made_at()?))) else {
        return Ok(false);
    };
    let recording = async {
        let now = sql::session::now(link).await?;
        if settings.window.age(made_at, now) != Age::Known {
            return Ok(false);
        }
        let record = sql::processed::record(link, &settings.consumer, &id.record(), None).await?;
        Ok(!record.is_new)
    };
    let recorded = settings.recorded(recording).await;
    recorded.map_err(TransactionError::Unavailable)
}

async fn record(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
) -> Result<Entered, TransactionError> {
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
        return Ok(Entered::Settled(Outcome::Duplicate));
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
            return Ok(Entered::Settled(Outcome::Parked(Reason::Behind)));
        }
    }
    Ok(Entered::Run(Session {
        xid: recorded.xid,
        pid: recorded.pid,
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
    let verdict = Verdict::behind(0, None);
    parked::insert(link, &settings.consumer, delivery, &verdict).await?;
    Ok(true)
}
