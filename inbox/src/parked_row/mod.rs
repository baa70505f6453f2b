//! Rows of `inbox.parked`: inserting and removing one, and a message as its columns.

mod columns;
mod remove;

use statement::Link;

use crate::{Delivery, decision::ParkDecision, sql};

pub(crate) use columns::message;
pub(crate) use remove::remove;

/// Inserts the row of a parked delivery.
pub(crate) async fn insert(
    link: &mut Link<'_>,
    consumer: &str,
    delivery: &Delivery,
    decision: &ParkDecision,
) -> Result<(), sqlx::Error> {
    let message = delivery.message();
    let headers = postroom_message::jsonb(&columns::headers(message));
    let headers = headers.map_err(|error| sqlx::Error::Encode(error.into()))?;
    let body = delivery.received_body();
    sql::parked::insert(link, consumer, message, headers, body, decision).await
}
