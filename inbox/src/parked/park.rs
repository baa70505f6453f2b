//! Parking a delivery from the queue.

use sqlx::PgConnection;

use super::row;
use crate::{
    Delivery, Outcome,
    dedup::{Age, Id, Record},
    policy::{Due, Verdict},
    sql,
    transaction::{Settings, within},
};

/// Parks a delivery in a transaction of its own, together with the record of its id.
///
/// A message that was handled or parked before is left as it is.
pub(crate) async fn park(
    settings: &Settings,
    delivery: &Delivery,
    verdict: &Verdict,
) -> Result<Outcome, sqlx::Error> {
    let mut tx = within(outbox::transaction::begin(&settings.pool)).await?;
    let parked = async {
        if !record(settings, &mut tx, delivery).await? {
            return Ok(Outcome::Duplicate);
        }
        let verdict = in_line(settings, &mut tx, delivery, verdict.clone()).await?;
        insert(&mut tx, &settings.consumer, delivery, &verdict).await?;
        Ok(Outcome::Parked(verdict.reason))
    };
    let outcome = within(parked).await?;
    within(tx.commit()).await?;
    Ok(outcome)
}

/// Inserts the row.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    consumer: &str,
    delivery: &Delivery,
    verdict: &Verdict,
) -> Result<(), sqlx::Error> {
    let message = delivery.message();
    let headers = row::headers(message);
    sql::parked::insert(
        connection,
        consumer,
        message,
        &headers,
        delivery.body(),
        verdict,
    )
    .await
}

/// Records the id, if the message has one; returns false if it was recorded before.
async fn record(
    settings: &Settings,
    connection: &mut PgConnection,
    delivery: &Delivery,
) -> Result<bool, sqlx::Error> {
    let message = delivery.message();
    let Some(message_id) = &message.message_id else {
        return Ok(true);
    };
    let id = Id::new(message_id, message.source.as_deref());
    let record = place(settings, connection, &id).await?;
    let recorded = sql::processed::record(connection, &settings.consumer, &record, None).await?;
    Ok(recorded.is_new)
}

async fn place(
    settings: &Settings,
    connection: &mut PgConnection,
    id: &Id,
) -> Result<Record, sqlx::Error> {
    let Some(made_at) = id.made_at() else {
        return Ok(id.record());
    };
    let now = sql::session::now(connection).await?;
    Ok(match settings.window.age(made_at, now) {
        Age::Known => id.record(),
        Age::Stale | Age::Future => id.record_outside_window(),
    })
}

/// Puts a delivery that is to be tried again behind earlier ones of its key.
async fn in_line(
    settings: &Settings,
    connection: &mut PgConnection,
    delivery: &Delivery,
    verdict: Verdict,
) -> Result<Verdict, sqlx::Error> {
    match (&delivery.message().key, verdict.due) {
        (Some(key), Due::In(_)) if verdict.holds_key => {
            let held = sql::parked::lock_holder(connection, &settings.consumer, key).await?;
            Ok(if held {
                Verdict::behind(verdict.attempts, verdict.error)
            } else {
                verdict
            })
        }
        _ => Ok(verdict),
    }
}
