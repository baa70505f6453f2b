//! Parking a delivery from the queue.

use outbox::link::Link;

use super::row;
use crate::{
    Delivery, Outcome,
    dedup::{Age, Id, Record},
    policy::{Due, ParkDecision},
    sql,
    transaction::{Settings, within},
};

/// Parks a delivery in a transaction of its own, together with the record of its id.
///
/// A message that was handled or parked before is left as it is, unless the verdict knows better.
pub(crate) async fn park(
    settings: &Settings,
    delivery: &Delivery,
    decision: &ParkDecision,
) -> Result<Outcome, sqlx::Error> {
    let mut tx = within(settings.begin()).await?;
    let mut link = settings.link(&mut tx);
    if !record(settings, &mut link, delivery).await?
        && (!decision.recorded || is_parked(settings, &mut link, delivery).await?)
    {
        within(tx.commit()).await?;
        return Ok(Outcome::Duplicate);
    }
    let parked = async {
        let decision = in_line(settings, &mut link, delivery, decision.clone()).await?;
        insert(&mut link, &settings.consumer, delivery, &decision).await?;
        Ok(Outcome::Parked(decision.reason))
    };
    let outcome = within(parked).await?;
    within(tx.commit()).await?;
    Ok(outcome)
}

/// Whether the message is there already: an earlier attempt's answer may have been lost.
async fn is_parked(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
) -> Result<bool, sqlx::Error> {
    let message = delivery.message();
    let Some(id) = &message.message_id else {
        return Ok(false);
    };
    let source = message.source.as_deref();
    within(sql::parked::is_there(link, &settings.consumer, id, source)).await
}

/// Inserts the row.
pub(crate) async fn insert(
    link: &mut Link<'_>,
    consumer: &str,
    delivery: &Delivery,
    decision: &ParkDecision,
) -> Result<(), sqlx::Error> {
    let message = delivery.message();
    let headers = outbox::jsonb(&row::headers(message));
    let headers = headers.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let body = delivery.received_body();
    sql::parked::insert(link, consumer, message, headers, body, decision).await
}

/// Records the id, if the message has one; returns false if it was recorded before.
async fn record(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
) -> Result<bool, sqlx::Error> {
    let message = delivery.message();
    let Some(message_id) = &message.message_id else {
        return Ok(true);
    };
    let id = Id::new(message_id, message.source.as_deref());
    let record = within(place(settings, link, &id)).await?;
    let recording = sql::processed::record(link, &settings.consumer, &record, None);
    Ok(settings.recorded(recording).await?.is_new)
}

async fn place(settings: &Settings, link: &mut Link<'_>, id: &Id) -> Result<Record, sqlx::Error> {
    let Some(made_at) = id.made_at() else {
        return Ok(id.record());
    };
    let now = sql::session::now(link).await?;
    Ok(match settings.window.age(made_at, now) {
        Age::Known => id.record(),
        Age::Stale | Age::Future => id.record_outside_window(),
    })
}

/// Puts a delivery that is to be tried again behind earlier ones of its key.
async fn in_line(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
    decision: ParkDecision,
) -> Result<ParkDecision, sqlx::Error> {
    match (&delivery.message().key, decision.due) {
        (Some(key), Due::In(_)) if decision.holds_key => {
            let held = sql::parked::lock_holder(link, &settings.consumer, key).await?;
            Ok(if held {
                ParkDecision::behind(decision.attempts, decision.error)
            } else {
                decision
            })
        }
        _ => Ok(decision),
    }
}
