//! The end of a delivery that was parked: it has been handled.

use outbox::link::Link;

use crate::{Delivery, sql};

/// Deletes the row of a delivery that was parked, and lets the next one of its key go.
pub(crate) async fn remove(
    link: &mut Link<'_>,
    consumer: &str,
    id: i64,
    delivery: &Delivery,
) -> Result<(), sqlx::Error> {
    sql::parked::delete(link, id).await?;
    // In a statement after the deletion's: it sees what was parked behind the row until then.
    if let Some(key) = &delivery.message().key {
        sql::parked::release_next(link, consumer, key).await?;
    }
    Ok(())
}
