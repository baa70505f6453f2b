//! A delivery in a transaction of its own.

use sqlx::{Postgres, Transaction};

use super::{
    Settings, WorkerConnection,
    call::{Called, call},
    commit::{commit, remove_parked},
    fault,
    record::{RecordResult, record},
    rehearsal, with_answer_timeout,
};
use crate::{
    Context, Delivery, HandlerError, Outcome, TransactionError, events,
    sql::{self, session::TxIdentity},
};

/// Records a delivery's id, calls the handler and commits.
///
/// # Errors
/// Nothing was written, unless a variant of the error says otherwise.
pub(crate) async fn run<H, Fut>(
    settings: &Settings,
    connection: &mut WorkerConnection,
    delivery: &Delivery,
    handler: H,
) -> Result<Outcome, TransactionError>
where
    H: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), HandlerError>>,
{
    let begun = with_answer_timeout(connection.begin(settings)).await;
    let mut tx = begun.map_err(TransactionError::Unavailable)?;
    let identity = match record(settings, &mut settings.link(&mut tx), delivery).await {
        Ok(RecordResult::Run(identity)) => identity,
        Ok(RecordResult::Done(outcome)) if delivery.is_rehearsed() => {
            rehearsal::roll_back(tx).await?;
            return Ok(outcome);
        }
        Ok(RecordResult::Done(outcome)) => {
            let committed = with_answer_timeout(tx.commit()).await;
            committed.map_err(TransactionError::Commit)?;
            return Ok(outcome);
        }
        Err(TransactionError::Unavailable(error)) => {
            let mut link = settings.link(&mut tx);
            let _ = with_answer_timeout(sql::session::end_unusable(&mut link, &error)).await;
            return Err(TransactionError::Unavailable(error));
        }
        Err(error) => return Err(error),
    };
    let called = handle(settings, tx, &identity, delivery, handler).await?;
    let Called { mut tx, duplicates } = called;
    if delivery.is_rehearsed() {
        rehearsal::end(settings, tx, &identity).await?;
        return Ok(if duplicates.is_empty() {
            Outcome::Handled
        } else {
            Outcome::DuplicateKey
        });
    }
    if let Some(known) = duplicates.first() {
        let mut link = settings.link(&mut tx);
        fault::reply_to_duplicate(settings, &mut link, &identity, delivery, known).await?;
    }
    remove_parked(settings, &mut settings.link(&mut tx), &identity, delivery).await?;
    commit(settings, tx, &identity, connection).await?;
    let Some(known) = duplicates.first() else {
        return Ok(Outcome::Handled);
    };
    events::DuplicateKey::of(&settings.consumer, known).emit();
    Ok(Outcome::DuplicateKey)
}

/// Calls the handler of one message.
pub(super) async fn handle<H, Fut>(
    settings: &Settings,
    tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
    delivery: &Delivery,
    handler: H,
) -> Result<Called, TransactionError>
where
    H: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), HandlerError>>,
{
    let inherited = Context::inherited_by(delivery);
    let handler = |guard| handler(Context::new(guard, delivery.clone(), settings.outbox));
    call(settings, tx, identity, inherited, handler).await
}
