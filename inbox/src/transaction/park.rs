//! The transaction that parks a delivery from the queue.

use statement::Link;

use super::{Settings, fault, with_answer_timeout};
use crate::{
    Delivery, Outcome,
    decision::{Due, ParkDecision},
    dedup::{Age, Id, Record},
    parked_row, sql,
};

/// Parks a delivery in a separate transaction, together with the record of its id.
///
/// A delivery whose id is recorded already is a duplicate and is not parked. If `decision.recorded` is set,
/// the record may exist although the message was not handled, so only a delivery that is parked already is a
/// duplicate.
pub(crate) async fn park(
    settings: &Settings,
    delivery: &Delivery,
    decision: &ParkDecision,
) -> Result<Outcome, sqlx::Error> {
    let mut tx = with_answer_timeout(settings.begin()).await?;
    let outcome = park_new(settings, &mut settings.link(&mut tx), delivery, decision).await?;
    with_answer_timeout(tx.commit()).await?;
    Ok(outcome)
}

/// Records a delivery's id and parks the delivery, as [`park`] does, within a transaction.
pub(super) async fn park_new(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
    decision: &ParkDecision,
) -> Result<Outcome, sqlx::Error> {
    if !record(settings, link, delivery).await?
        && (!decision.recorded || is_parked(settings, link, delivery).await?)
    {
        return Ok(Outcome::Duplicate);
    }
    let parked = async {
        let decision = behind_key(settings, link, delivery, decision.clone()).await?;
        parked_row::insert(link, &settings.consumer, delivery, &decision).await?;
        fault::reply(settings, link, delivery, &decision).await?;
        Ok(Outcome::Parked(decision.reason))
    };
    with_answer_timeout(parked).await
}

/// Returns `true` if the message is parked already, by an earlier try whose answer was lost.
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
    with_answer_timeout(sql::parked::is_there(link, &settings.consumer, id, source)).await
}

/// Records the id, if the message has one; returns `false` if the id was recorded before.
async fn record(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
) -> Result<bool, sqlx::Error> {
    let message = delivery.message();
    let message_id = message.message_id.as_ref();
    // The id or the source of an unreadable message may not be the whole of it: recorded, it would make another
    // message a duplicate.
    let Some(message_id) = message_id.filter(|_| message.unreadable.is_none()) else {
        return Ok(true);
    };
    let id = Id::new(message_id, message.source.as_deref());
    let record = with_answer_timeout(record_of(settings, link, &id)).await?;
    let recording = sql::processed::record(link, &settings.consumer, &record, None);
    Ok(settings.wait_for_record(recording).await?.is_new)
}

/// Returns the record of an id, which depends on whether the id is inside the dedup window.
async fn record_of(
    settings: &Settings,
    link: &mut Link<'_>,
    id: &Id,
) -> Result<Record, sqlx::Error> {
    let Some(made_at) = id.made_at() else {
        return Ok(id.record());
    };
    let now = sql::session::now(link).await?;
    Ok(match settings.window.age(made_at, now) {
        Age::InWindow => id.record(),
        Age::Stale | Age::Future => id.record_outside_window(),
    })
}

/// Changes a decision so that the delivery waits behind an earlier parked one of its key, if there is one.
async fn behind_key(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
    decision: ParkDecision,
) -> Result<ParkDecision, sqlx::Error> {
    match (&delivery.message().key, decision.due) {
        (Some(key), Due::In(_) | Due::OnceKnown) if decision.holds_key => {
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
