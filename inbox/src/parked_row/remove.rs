//! Removing a parked delivery that was handled.

use statement::Link;

use crate::{Delivery, sql};

/// Deletes the row of a parked delivery, and releases the next one of its key.
pub(crate) async fn remove(
    link: &mut Link<'_>,
    consumer: &str,
    id: i64,
    delivery: &Delivery,
) -> Result<(), sqlx::Error> {
    sql::parked::delete(link, id).await?;
    // A later statement than the deletion, so that it sees all rows parked behind the row until then.
    if let Some(key) = &delivery.message().key {
        sql::parked::release_next(link, consumer, key).await?;
    }
    Ok(())
}
