//! The transaction that a group shares.

use outbox::MessageContext;

use super::{
    Answer,
    order::{self, Call},
    place::Work,
};
use crate::{
    BatchContext, Context, Outcome, Router, TransactionError,
    dedup::Age,
    sql,
    transaction::{Settings, commit, within, within_time, work},
};

/// Records, runs and commits. On an error nothing was written.
///
/// # Errors
/// Any of a single delivery's: each is to run by itself, and will meet its own.
pub(super) async fn run(
    settings: &Settings,
    router: &Router,
    works: Vec<Work>,
) -> Result<Vec<Answer>, TransactionError> {
    let (asked, works): (Vec<_>, Vec<_>) = works
        .into_iter()
        .filter_map(|mut work| Some((work.asked.take()?, work)))
        .unzip();
    let mut tx = within(settings.begin())
        .await
        .map_err(TransactionError::Unavailable)?;
    // Another process may be handling one of the messages: then this waits for its end.
    let recorded = within_time(
        settings.longest_transaction(),
        sql::processed::record_all(&mut settings.link(&mut tx), &settings.consumer, &asked),
    )
    .await
    .map_err(TransactionError::Unavailable)?;
    for asked in &asked {
        match settings.window.age(asked.made_at, recorded.now) {
            Age::Known => {}
            Age::Stale => return Err(TransactionError::Stale),
            Age::Future => return Err(TransactionError::Future),
        }
    }
    let outcome = |is_new| {
        if is_new {
            Outcome::Handled
        } else {
            Outcome::Duplicate
        }
    };
    let answers = recorded
        .is_new
        .iter()
        .map(|is_new| is_new.map(outcome))
        .collect();
    let runs = works
        .into_iter()
        .zip(&recorded.is_new)
        .filter_map(|(work, is_new)| (*is_new == Some(true)).then_some(work))
        .collect();
    let session = recorded.session;
    let batched = |work: &Work| {
        let type_name = work.delivery.type_name();
        router.takes_many(type_name).then(|| type_name.to_owned())
    };
    for call in order::calls(runs, batched) {
        tx = match call {
            Call::One(Work { delivery, run, .. }) => {
                let inherited = Context::inherited_by(&delivery);
                let outbox = settings.outbox;
                let handler = |lent| run(Context::new(lent, delivery, outbox));
                work(settings, tx, &session, inherited, handler).await?
            }
            Call::Many(type_name, works) => {
                let deliveries = works.into_iter().map(|work| work.delivery).collect();
                let handler = |lent| {
                    let context = BatchContext::new(lent, settings.outbox);
                    router.call_many(&type_name, context, deliveries)
                };
                work(settings, tx, &session, MessageContext::new(), handler).await?
            }
        };
    }
    commit(settings, tx, &session).await?;
    Ok(answers)
}
