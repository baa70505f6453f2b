//! The transaction that a group shares.

use std::time::{Duration, Instant};

use outbox::MessageContext;
use sqlx::{Postgres, Transaction};
use tracing::{Instrument as _, Span, info_span};

use super::{
    Answer,
    order::{self, Call},
    slot::BatchWork,
};
use crate::{
    BatchContext, Context, Outcome, TransactionError,
    dedup::Age,
    handler::Router,
    sql::{
        self,
        processed::{DedupEntry, RecordedAll},
    },
    transaction::{Settings, TxIdentity, check, commit, within, work},
};

/// Time of the handlers after which the session says something between two of them.
const SILENCE: Duration = Duration::from_secs(1);

/// Records, runs and commits. On an error nothing was written.
///
/// # Errors
/// Any of a single delivery's: each is to run by itself, and will meet its own.
pub(super) async fn run(
    settings: &Settings,
    router: &Router,
    works: Vec<BatchWork>,
) -> Result<Vec<Answer>, TransactionError> {
    let (asked, works): (Vec<_>, Vec<_>) = works
        .into_iter()
        .filter_map(|mut work| Some((work.asked.take()?, work)))
        .unzip();
    let mut tx = within(settings.begin())
        .await
        .map_err(TransactionError::Unavailable)?;
    // Another process may be handling one of the messages: then this waits for its end.
    let mut link = settings.link(&mut tx);
    let recording = sql::processed::record_all(&mut link, &settings.consumer, &asked);
    let recorded = match settings.recorded(recording).await {
        Ok(recorded) => recorded,
        Err(error) => {
            let mut link = settings.link(&mut tx);
            let _ = within(sql::session::end_unfit(&mut link, &error)).await;
            return Err(TransactionError::Unavailable(error));
        }
    };
    for asked in &asked {
        match settings.window.age(asked.made_at, recorded.now) {
            Age::Known => {}
            Age::Stale => return Err(TransactionError::Stale),
            Age::Future => return Err(TransactionError::Future),
        }
    }
    if is_passed(settings, &mut tx, &asked, &recorded).await? {
        return Err(TransactionError::Shared);
    }
    let runs = works
        .into_iter()
        .zip(&recorded.is_new)
        .filter_map(|(work, is_new)| (*is_new == Some(true)).then_some(work))
        .collect();
    let identity = recorded.identity;
    let running = async {
        let tx = call(settings, router, tx, &identity, runs).await?;
        commit(settings, tx, &identity).await
    };
    let is_ended = match running.await {
        Ok(()) => false,
        // If it was a handler's COMMIT, each would find itself a duplicate.
        Err(TransactionError::Ended)
            if is_any_recorded(settings, asked, &recorded.is_new).await? =>
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

/// Whether one of the messages would pass another of its key that is parked.
///
/// The statement that recorded them may have waited for another process, which committed a duplicate's record
/// together with the parked message: after the statement had looked for that.
async fn is_passed(
    settings: &Settings,
    tx: &mut Transaction<'static, Postgres>,
    asked: &[DedupEntry],
    recorded: &RecordedAll,
) -> Result<bool, TransactionError> {
    let keys = order::behind_duplicates(asked, &recorded.is_new);
    if keys.is_empty() {
        return Ok(false);
    }
    let mut link = settings.link(tx);
    let held = sql::parked::any_holder(&mut link, &settings.consumer, &keys);
    within(held).await.map_err(TransactionError::Unavailable)
}

/// Calls the handlers, one after another.
async fn call(
    settings: &Settings,
    router: &Router,
    mut tx: Transaction<'static, Postgres>,
    identity: &TxIdentity,
    runs: Vec<BatchWork>,
) -> Result<Transaction<'static, Postgres>, TransactionError> {
    let batched = |work: &BatchWork| {
        let type_name = work.delivery.type_name();
        router.takes_many(type_name).then(|| type_name.to_owned())
    };
    let mut said = Instant::now();
    for call in order::calls(runs, batched) {
        if said.elapsed() > SILENCE {
            // Those who wait for its records take a session that is idle for longer than one handler may take
            // for that of a frozen process, and end it; and handlers may all leave it idle.
            check(&mut settings.link(&mut tx), identity).await?;
            said = Instant::now();
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
                let working = work(settings, tx, identity, inherited, handler);
                working.instrument(span.clone()).await?
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
                let working = work(settings, tx, identity, MessageContext::new(), handler);
                working.instrument(span).await?
            }
        };
    }
    Ok(tx)
}

/// The span in which a handler of many deliveries runs.
pub(crate) fn span(consumer: &str, type_name: &str, messages: usize) -> Span {
    info_span!("deliveries", consumer, type_name, messages)
}

/// Whether one of the ids that the transaction recorded is there after its end.
async fn is_any_recorded(
    settings: &Settings,
    asked: Vec<DedupEntry>,
    is_new: &[Option<bool>],
) -> Result<bool, TransactionError> {
    let asked = asked.into_iter().zip(is_new);
    // Those of duplicates were there before.
    let asked: Vec<DedupEntry> = asked
        .filter_map(|(asked, is_new)| (*is_new == Some(true)).then_some(asked))
        .collect();
    let looking = async {
        let mut tx = settings.begin().await?;
        let mut link = settings.link(&mut tx);
        let recorded =
            sql::processed::is_any_recorded(&mut link, &settings.consumer, &asked).await?;
        tx.commit().await?;
        Ok(recorded)
    };
    within(looking).await.map_err(TransactionError::Unavailable)
}
