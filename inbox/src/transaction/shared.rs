//! Deliveries that share a transaction.
//!
//! One statement records all ids, the handlers run one after another, and one commit ends the transaction.
//! If anything fails, everything is rolled back and each delivery runs again in a transaction of its own. So
//! no savepoints are needed, and no account of which handlers had run.

use std::time::{Duration, Instant};

use outbox::MessageContext;
use sqlx::{Postgres, Transaction};
use tower::ServiceExt as _;
use tracing::{Instrument as _, Span, info_span};

use super::{
    Settings, WorkerConnection, alone,
    call::{Called, call},
    commit::{check, commit},
    fault,
    order::{self, Call},
    with_answer_timeout,
};
use crate::{
    BatchContext, Delivery, HandlerService, MessageTime, Outcome, TransactionError,
    dedup::{Age, Id, Record},
    events,
    handler::Router,
    idempotency::DuplicateKey,
    sql::{
        self,
        processed::{DedupEntry, RecordedAll},
        session::TxIdentity,
    },
};

/// Time after which the session sends a statement between two handlers.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A delivery that may share a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sharing<'a> {
    pub(crate) delivery: &'a Delivery,
    /// Span in which the handler runs.
    pub(crate) span: &'a Span,
}

/// Result of a delivery; `None` if it has to run alone.
pub(crate) type Shared = Option<Result<Outcome, TransactionError>>;

/// Returns the entry to record in the ring; `None` if the id is recorded in another table, for which there
/// is no shared statement.
pub(crate) fn dedup_entry(delivery: &Delivery) -> Option<DedupEntry> {
    let message = delivery.message();
    let id = Id::new(message.message_id.as_deref()?, message.source.as_deref());
    match id.record() {
        Record::Ring { uuid, slot } => Some(DedupEntry {
            uuid,
            slot,
            made_at: id.made_at()?,
            key: message.key.clone(),
        }),
        Record::Hashed { .. } => None,
    }
}

/// Records the ids, runs the handlers and commits. `None` for every delivery if another process has parked
/// an earlier message of one of the keys.
///
/// # Errors
/// The first error of any delivery; nothing was written. Each delivery then has to run alone, and gets an
/// error of its own.
pub(crate) async fn run(
    settings: &Settings,
    connection: &mut WorkerConnection,
    router: &Router,
    handlers: &HandlerService,
    deliveries: &[Sharing<'_>],
) -> Result<Vec<Shared>, TransactionError> {
    let entries: Vec<DedupEntry> = deliveries
        .iter()
        .filter_map(|sharing| dedup_entry(sharing.delivery))
        .collect();
    debug_assert_eq!(entries.len(), deliveries.len(), "an id of another table");
    let begun = with_answer_timeout(connection.begin(settings)).await;
    let mut tx = begun.map_err(TransactionError::Unavailable)?;
    let recorded = record(settings, &mut tx, &entries).await?;
    if would_overtake(settings, &mut tx, &entries, &recorded).await? {
        return Ok(deliveries.iter().map(|_| None).collect());
    }
    let new = deliveries.iter().copied().enumerate();
    let new = new.zip(&recorded.is_new);
    let new = new.filter_map(|(numbered, is_new)| (*is_new == Some(true)).then_some(numbered));
    let new = new.collect();
    let identity = recorded.identity;
    let running = async {
        let (mut tx, known) = call_handlers(settings, router, handlers, tx, &identity, new).await?;
        for (number, known) in &known {
            let (link, delivery) = (&mut settings.link(&mut tx), deliveries[*number].delivery);
            fault::reply_to_duplicate(settings, link, &identity, delivery, known).await?;
        }
        commit(settings, tx, &identity, connection).await?;
        Ok(known)
    };
    let (known, is_ended) = match running.await {
        Ok(known) => (known, false),
        // A handler has ended the transaction. If it did so with COMMIT, the records are committed, and each
        // delivery would be a duplicate if it ran alone.
        Err(TransactionError::Ended)
            if is_any_recorded(settings, entries, &recorded.is_new).await? =>
        {
            (Vec::new(), true)
        }
        Err(error) => return Err(error),
    };
    let result = |is_new| match (is_new, is_ended) {
        (true, true) => Err(TransactionError::Ended),
        (true, false) => Ok(Outcome::Handled),
        (false, _) => Ok(Outcome::Duplicate),
    };
    let results = recorded.is_new.into_iter();
    let mut results: Vec<Shared> = results.map(|is_new| is_new.map(result)).collect();
    for (number, known) in known {
        let event = events::DuplicateKey::of(&settings.consumer, &known);
        deliveries[number].span.in_scope(|| event.emit());
        results[number] = Some(Ok(Outcome::DuplicateKey));
    }
    Ok(results)
}

/// Records the ids, and checks their times.
async fn record(
    settings: &Settings,
    tx: &mut Transaction<'static, Postgres>,
    entries: &[DedupEntry],
) -> Result<RecordedAll, TransactionError> {
    // If another process is handling one of the messages, this waits for the end of its transaction.
    let mut link = settings.link(tx);
    let recording = sql::processed::record_all(&mut link, &settings.consumer, entries);
    let recorded = match settings.wait_for_record(recording).await {
        Ok(recorded) => recorded,
        Err(error) => {
            let mut link = settings.link(tx);
            let _ = with_answer_timeout(sql::session::end_unusable(&mut link, &error)).await;
            return Err(TransactionError::Unavailable(error));
        }
    };
    for entry in entries {
        match settings.window.age(entry.made_at, recorded.now) {
            Age::InWindow => {}
            Age::Stale => return Err(TransactionError::Stale(MessageTime::Id(entry.made_at))),
            Age::Future => return Err(TransactionError::Future(MessageTime::Id(entry.made_at))),
        }
    }
    Ok(recorded)
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
    with_answer_timeout(held)
        .await
        .map_err(TransactionError::Unavailable)
}

/// Calls the handlers, one after another. Returns the transaction, and the numbers and keys of the deliveries that are
/// duplicates by meaning.
async fn call_handlers(
    settings: &Settings,
    router: &Router,
    handlers: &HandlerService,
    mut tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
    deliveries: Vec<(usize, Sharing<'_>)>,
) -> Result<(Transaction<'static, Postgres>, Vec<(usize, DuplicateKey)>), TransactionError> {
    let batch_type = |(_, sharing): &(usize, Sharing<'_>)| router.batch_type(sharing.delivery);
    let mut last_check = Instant::now();
    let mut known = Vec::new();
    for next in order::calls(deliveries, batch_type) {
        if last_check.elapsed() > CHECK_INTERVAL {
            // Handlers may send no statements. Processes that wait for this transaction's records end a
            // session that is idle for longer than a single handler may take, so the session must not stay
            // idle over several handlers.
            check(&mut settings.link(&mut tx), identity).await?;
            last_check = Instant::now();
        }
        tx = match next {
            Call::One((number, Sharing { delivery, span })) => {
                let service = handlers.clone();
                let handler = |context| async { Ok(service.oneshot(context).await?) };
                let handling = alone::handle(settings, tx, identity, delivery, handler);
                let Called { tx, duplicates } = handling.instrument(span.clone()).await?;
                known.extend(duplicates.into_iter().map(|key| (number, key)));
                tx
            }
            Call::Many(batch_type, deliveries) => {
                let span = batch_span(&settings.consumer, batch_type.name(), deliveries.len());
                for (_, sharing) in &deliveries {
                    span.follows_from(sharing.span);
                }
                let owned = deliveries.iter();
                let owned = owned.map(|(_, sharing)| sharing.delivery.clone());
                let owned = owned.collect();
                let handler = |guard| {
                    let context = BatchContext::new(guard, settings.outbox);
                    router.call_many(&batch_type, context, owned)
                };
                let handling = call(settings, tx, identity, MessageContext::new(), handler);
                let Called { tx, duplicates } = handling.instrument(span).await?;
                let number = |key: &DuplicateKey| deliveries[key.key.position].0;
                known.extend(duplicates.into_iter().map(|key| (number(&key), key)));
                tx
            }
        };
    }
    Ok((tx, known))
}

/// Makes the span in which a handler of many deliveries runs.
pub(crate) fn batch_span(consumer: &str, type_name: &str, messages: usize) -> Span {
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
    with_answer_timeout(querying)
        .await
        .map_err(TransactionError::Unavailable)
}
