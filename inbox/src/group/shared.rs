//! The shared transaction of a group: record, handlers, commit.

use std::time::{Duration, Instant};

use outbox::MessageContext;
use sqlx::{Postgres, Transaction};
use tracing::{Instrument as _, Span, info_span};

use super::{
    Answer,
    order::{self, Call},
    slot::BatchWork,
};
use crate::sql::session::TxIdentity;
use crate::{
    BatchContext, Context, Outcome, TransactionError,
    dedup::Age,
    handler::Router,
    sql::{
        self,
        processed::{DedupEntry, RecordedAll},
    },
    transaction::{Settings, check, commit, within, work},
};

/// Time after which the session sends a statement between two handlers.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Records the ids, runs the handlers and commits. On an error nothing was written.
///
/// # Errors
/// The first error of any delivery. Each delivery then has to run separately, and gets its own error.
pub(super) async fn run(
    settings: &Settings,
    router: &Router,
    works: Vec<BatchWork>,
) -> Result<Vec<Answer>, TransactionError> {
    let (entries, works): (Vec<_>, Vec<_>) = works
        .into_iter()
        .filter_map(|mut work| Some((work.entry.take()?, work)))
        .unzip();
    let mut tx = within(settings.begin())
        .await
        .map_err(TransactionError::Unavailable)?;
    // If another process is handling one of the messages, this waits for the end of its transaction.
    let mut link = settings.link(&mut tx);
    let recording = sql::processed::record_all(&mut link, &settings.consumer, &entries);
    let recorded = match settings.wait_for_record(recording).await {
        Ok(recorded) => recorded,
        Err(error) => {
            let mut link = settings.link(&mut tx);
            let _ = within(sql::session::end_unfit(&mut link, &error)).await;
            return Err(TransactionError::Unavailable(error));
        }
    };
    for entry in &entries {
        match settings.window.age(entry.made_at, recorded.now) {
            Age::Known => {}
            Age::Stale => return Err(TransactionError::Stale),
            Age::Future => return Err(TransactionError::Future),
        }
    }
    if would_overtake(settings, &mut tx, &entries, &recorded).await? {
        return Err(TransactionError::Shared);
    }
    let runs = works
        .into_iter()
        .zip(&recorded.is_new)
        .filter_map(|(work, is_new)| (*is_new == Some(true)).then_some(work))
        .collect();
    let identity = recorded.identity;
    let running = async {
        let tx = call_handlers(settings, router, tx, &identity, runs).await?;
        commit(settings, tx, &identity).await
    };
    let is_ended = match running.await {
        Ok(()) => false,
        // A handler has ended the transaction. If it did so with COMMIT, the records are committed, and each
        // delivery would be a duplicate if it ran separately.
        Err(TransactionError::Ended)
            if is_any_recorded(settings, entries, &recorded.is_new).await? =>
        {
            true
        }
        Err(error) => return Err(error),
    };
    let answer = |is_new| match (is_new, is_ended) {
        (true, true) => Err(TransactionError::Ended),
        (true, false) => Ok(Outcome::Handled),
        (false, _) => Ok(Outcome::Duplicate),
    };
    let answers = recorded.is_new.into_iter();
    Ok(answers.map(|is_new| is_new.map(answer)).collect())
}

/// Returns `true` if one of the messages would overtake a parked message of its key.
///
/// The recording statement checks for parked messages, but may then have waited for another process that
/// parked an earlier message of the key and committed the record of it, now seen as a duplicate.
async fn would_overtake(
    settings: &Settings,
    tx: &mut Transaction<'static, Postgres>,
    entries: &[DedupEntry],
    recorded: &RecordedAll,
) -> Result<bool, TransactionError> {
    let keys = order::keys_with_new_after_duplicate(entries, &recorded.is_new);
    if keys.is_empty() {
        return Ok(false);
    }
    let mut link = settings.link(tx);
    let held = sql::parked::any_holder(&mut link, &settings.consumer, &keys);
    within(held).await.map_err(TransactionError::Unavailable)
}

/// Calls the handlers, one after another; returns the transaction.
async fn call_handlers(
    settings: &Settings,
    router: &Router,
    mut tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
    runs: Vec<BatchWork>,
) -> Result<Transaction<'static, Postgres>, TransactionError> {
    let batch_type = |work: &BatchWork| {
        let type_name = work.delivery.type_name();
        router.takes_many(type_name).then(|| type_name.to_owned())
    };
    let mut last_check = Instant::now();
    for call in order::calls(runs, batch_type) {
        if last_check.elapsed() > CHECK_INTERVAL {
            // Handlers may send no statements. Processes that wait for this transaction's records end a
            // session that is idle for longer than a single handler may take, so the session must not stay
            // idle over several handlers.
            check(&mut settings.link(&mut tx), identity).await?;
            last_check = Instant::now();
        }
        tx = match call {
            Call::One(BatchWork {
                delivery,
                run,
                span,
                ..
            }) => {
                let inherited = Context::inherited_by(&delivery);
                let outbox = settings.outbox;
                let handler = |guard| span.in_scope(|| run(Context::new(guard, delivery, outbox)));
                let future = work(settings, tx, identity, inherited, handler);
                future.instrument(span.clone()).await?
            }
            Call::Many(type_name, works) => {
                let span = span(&settings.consumer, &type_name, works.len());
                for work in &works {
                    span.follows_from(&work.span);
                }
                let deliveries = works.into_iter().map(|work| work.delivery).collect();
                let handler = |guard| {
                    let context = BatchContext::new(guard, settings.outbox);
                    router.call_many(&type_name, context, deliveries)
                };
                let future = work(settings, tx, identity, MessageContext::new(), handler);
                future.instrument(span).await?
            }
        };
    }
    Ok(tx)
}

/// Makes the span in which a handler of many deliveries runs.
pub(crate) fn span(consumer: &str, type_name: &str, messages: usize) -> Span {
    info_span!("deliveries", consumer, type_name, messages)
}

/// Returns `true` if one of the ids that the transaction recorded is committed.
async fn is_any_recorded(
    settings: &Settings,
    entries: Vec<DedupEntry>,
    is_new: &[Option<bool>],
) -> Result<bool, TransactionError> {
    let entries = entries.into_iter().zip(is_new);
    // The ids of duplicates were recorded before the transaction.
    let new_entries: Vec<DedupEntry> = entries
        .filter_map(|(entry, is_new)| (*is_new == Some(true)).then_some(entry))
        .collect();
    let querying = async {
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let recorded =
            sql::processed::is_any_recorded(&mut link, &settings.consumer, &new_entries).await?;
        tx.commit().await?;
        Ok(recorded)
    };
    within(querying)
        .await
        .map_err(TransactionError::Unavailable)
}
