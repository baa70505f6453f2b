//! From the handler to the commit.

use std::time::{Duration, Instant};

use outbox::link::{Link, Statements};
use sqlx::{Postgres, Transaction};
use tokio::time::timeout;

use super::{Settings, TransactionError, prefetched, record::TxIdentity, within};
use crate::{
    Delivery,
    delivery::Origin,
    parked,
    sql::{self, step},
};

/// Longest wait for a session to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// `in_failed_sql_transaction`
const ABORTED: &str = "25P02";

/// Commits, unless that would not commit.
///
/// PostgreSQL answers `COMMIT` in an aborted transaction by rolling back, without an error: a
/// handler that passed over a failed statement would lose its message. One that ended the
/// transaction itself would lose the record.
///
/// All in one request, which begins another transaction too: the library takes the connection for one
/// with an open transaction until it has ended that itself. Not without prepared statements, so behind
/// a pooler in transaction mode: the server's connection would stay with this client.
pub(crate) async fn commit(
    settings: &Settings,
    mut tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
) -> Result<(), TransactionError> {
    if settings.statements == Statements::Unprepared {
        check(&mut settings.link(&mut tx), identity).await?;
        return within(tx.commit()).await.map_err(TransactionError::Commit);
    }
    // The server begins with what it is sent: the commit may take long.
    let began = Instant::now();
    let mut link = settings.link(&mut tx);
    let committed = within(sql::session::commit_and_begin(&mut link, &identity.xid)).await;
    end_if_lost(&mut link, &committed).await;
    committed.map_err(|error| match sql::state(&error).as_deref() {
        Some(ABORTED) => TransactionError::Aborted(error),
        _ if sql::session::is_ended(&error) => TransactionError::Ended,
        _ => TransactionError::Commit(error),
    })?;
    if settings.keeps_prefetching() {
        settings.prefetched.put(tx, began);
    } else {
        prefetched::end(tx);
    }
    Ok(())
}

/// Ends a session that answers something else than it is asked, so that nobody is given it again.
async fn end_if_lost<T>(link: &mut Link<'_>, answer: &Result<T, sqlx::Error>) {
    if answer.as_ref().is_err_and(step::is_lost) {
        drop(timeout(FAREWELL, step::end(link)).await);
    }
}

/// Checks that a commit would commit.
pub(crate) async fn check(
    link: &mut Link<'_>,
    identity: &TxIdentity,
) -> Result<(), TransactionError> {
    let transaction = within(sql::session::transaction(link)).await;
    end_if_lost(link, &transaction).await;
    match transaction {
        Ok(xid) if xid.as_deref() == Some(&identity.xid) => Ok(()),
        Ok(_) => Err(TransactionError::Ended),
        // Aborted, or now by a statement that the handler has given up.
        Err(error) if sql::is_lost(&error) => Err(TransactionError::Lost(error)),
        Err(error) => Err(TransactionError::Aborted(error)),
    }
}

/// Removes a delivery that was parked, and lets the next one of its key go.
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
    let leave = async {
        if let Some(role) = &identity.role {
            sql::session::take_role(link, role).await?;
        }
        parked::remove(link, &settings.consumer, id, delivery).await
    };
    within(leave).await.map_err(|error| {
        if sql::is_lost(&error) {
            TransactionError::Lost(error)
        } else {
            // The row was locked, so the inbox may do this: the handler has made it impossible.
            TransactionError::Commit(error)
        }
    })
}
