//! From the handler to the commit.

use outbox::link::Link;

use super::{Settings, TransactionError, enter::Session, within};
use crate::{Delivery, delivery::Origin, sql};

/// Checks that a commit would commit.
///
/// PostgreSQL answers `COMMIT` in an aborted transaction by rolling back, without an error: a
/// handler that passed over a failed statement would lose its message. One that ended the
/// transaction itself would lose the record.
pub(crate) async fn check(link: &mut Link<'_>, session: &Session) -> Result<(), TransactionError> {
    match within(sql::session::transaction(link)).await {
        Ok(xid) if xid.as_deref() == Some(&session.xid) => Ok(()),
        Ok(_) => Err(TransactionError::Ended),
        Err(error) => {
            // in_failed_sql_transaction
            match sql::state(&error).as_deref() {
                Some("25P02") => Err(TransactionError::Aborted(error)),
                _ => Err(TransactionError::Lost(error)),
            }
        }
    }
}

/// Removes a delivery that was parked, and lets the next one of its key go.
pub(super) async fn settle(
    settings: &Settings,
    link: &mut Link<'_>,
    delivery: &Delivery,
) -> Result<(), TransactionError> {
    let Origin::Parked { id, .. } = delivery.origin() else {
        return Ok(());
    };
    let leave = async {
        sql::parked::delete(link, id).await?;
        // In a statement after the deletion's: it sees what was parked behind the row until then.
        if let Some(key) = &delivery.message().key {
            sql::parked::release_next(link, &settings.consumer, key).await?;
        }
        Ok(())
    };
    within(leave).await.map_err(TransactionError::Lost)
}
