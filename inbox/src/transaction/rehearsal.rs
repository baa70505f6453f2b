//! The end of a rehearsed transaction: the checks of a commit, and a rollback.

use sqlx::{Postgres, Transaction};

use super::{Settings, commit::check, with_answer_timeout};
use crate::{
    TransactionError,
    sql::{self, session::TxIdentity},
};

/// Ends a transaction whose handler has succeeded, without its commit.
///
/// # Errors
/// Fails where the commit would have: the handler ended the transaction, ignored a failed statement, or violated a
/// deferred constraint.
pub(super) async fn end(
    settings: &Settings,
    mut tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
) -> Result<(), TransactionError> {
    let mut link = settings.link(&mut tx);
    check(&mut link, identity).await?;
    let checked = with_answer_timeout(sql::session::check_deferred_constraints(&mut link)).await;
    checked.map_err(TransactionError::Commit)?;
    roll_back(tx).await
}

/// Rolls a transaction back.
pub(super) async fn roll_back(tx: Transaction<'static, Postgres>) -> Result<(), TransactionError> {
    let rolled_back = with_answer_timeout(tx.rollback()).await;
    rolled_back.map_err(TransactionError::Lost)
}
