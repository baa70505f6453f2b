//! The commit of a delivery's transaction, and the checks before it.

use std::time::{Duration, Instant};

use sqlx::{Postgres, Transaction};
use statement::{Link, Statements};
use tokio::time::timeout;

use super::{Settings, WorkerConnection, with_answer_timeout};
use crate::{
    Delivery, TransactionError,
    delivery::Origin,
    parked_row, server_error,
    sql::{self, late_answer, session::TxIdentity},
};

/// Longest wait for the end of a session that is ended from its own connection.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// `in_failed_sql_transaction`
const ABORTED: &str = "25P02";

/// Commits the transaction, after a check that it is still the delivery's and not aborted.
///
/// Without the check a message could be lost: PostgreSQL answers `COMMIT` in an aborted transaction, as
/// after a failed statement that the handler ignored, with a rollback and no error. If the handler
/// ended the transaction itself, the record of the message is lost or already committed.
///
/// Check and commit are one request, which also begins the next transaction of `connection`, because sqlx
/// considers the connection to have an open transaction until sqlx itself has ended it. Without prepared
/// statements, so behind most poolers in transaction mode, check and commit are separate requests: an open
/// transaction would keep the pooler's server connection assigned to this client.
pub(super) async fn commit(
    settings: &Settings,
    mut tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
    connection: &mut WorkerConnection,
) -> Result<(), TransactionError> {
    if settings.statements == Statements::Unprepared {
        check(&mut settings.link(&mut tx), identity).await?;
        return with_answer_timeout(tx.commit())
            .await
            .map_err(TransactionError::Commit);
    }
    // Taken before the request: the commit may take long, and the next transaction is at most this old.
    let began = Instant::now();
    let mut link = settings.link(&mut tx);
    let committed =
        with_answer_timeout(sql::session::commit_and_begin(&mut link, &identity.xid)).await;
    end_if_lost(&mut link, &committed).await;
    committed.map_err(|error| match server_error::state(&error).as_deref() {
        Some(ABORTED) => TransactionError::Aborted(error),
        _ if sql::session::is_other_transaction_open(&error) => TransactionError::Ended,
        _ => TransactionError::Commit(error),
    })?;
    connection.keep(settings, tx, began);
    Ok(())
}

/// Ends a session whose answers do not belong to its requests, so that the pool does not reuse it.
async fn end_if_lost<T>(link: &mut Link<'_>, answer: &Result<T, sqlx::Error>) {
    if answer.as_ref().is_err_and(late_answer::is_late) {
        drop(timeout(END_TIMEOUT, late_answer::end(link)).await);
    }
}

/// Checks that the transaction is still open, is not aborted, and has the expected id.
pub(super) async fn check(
    link: &mut Link<'_>,
    identity: &TxIdentity,
) -> Result<(), TransactionError> {
    let transaction = with_answer_timeout(sql::session::open_transaction(link)).await;
    end_if_lost(link, &transaction).await;
    match transaction {
        Ok(xid) if xid.as_deref() == Some(&identity.xid) => Ok(()),
        Ok(_) => Err(TransactionError::Ended),
        // The transaction is aborted, perhaps just now by a statement that the handler has abandoned.
        Err(error) if server_error::is_lost(&error) => Err(TransactionError::Lost(error)),
        Err(error) => Err(TransactionError::Aborted(error)),
    }
}

/// Removes the row of a parked delivery, and releases the next one of its key.
pub(super) async fn remove_parked(
    settings: &Settings,
    link: &mut Link<'_>,
    identity: &TxIdentity,
    delivery: &Delivery,
) -> Result<(), TransactionError> {
    let Origin::Parked { id, .. } = delivery.origin() else {
        return Ok(());
    };
    check(link, identity).await?;
    let removing = async {
        if let Some(role) = &identity.role {
            sql::session::take_role(link, role).await?;
        }
        parked_row::remove(link, &settings.consumer, id, delivery).await
    };
    with_answer_timeout(removing).await.map_err(|error| {
        if server_error::is_lost(&error) {
            TransactionError::Lost(error)
        } else {
            // The inbox has the right to delete the row that it locked, so the handler caused the failure.
            TransactionError::Commit(error)
        }
    })
}
