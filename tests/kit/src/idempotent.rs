//! Proof that a handler's effect happens once, from the rows of the database.

use std::fmt;

use inbox::{AttemptError, Consumer, Delivery, Outcome};
use outbox::Event;
use sqlx::PgPool;

use crate::snapshot::Snapshot;

/// Asserts that an event has its effect once, and that a crash leaves no part of the effect. The event remains handled.
///
/// Runs the handler up to its commit and rolls back, as a process that is killed there: no row may remain. Then handles
/// the event, and a second delivery of the message: no row may differ after the second. The usual cause of a failure is
/// a handler or a layer that writes on a connection of the pool instead of the context's.
///
/// Compares all tables but those of the inbox, and the messages in the outbox, so `pool` needs a login that may read
/// them. Reads each table as a whole. No other test may write to the database meanwhile.
///
/// ```no_run
/// # use serde::Serialize;
/// # #[derive(Serialize)]
/// # struct OrderPlaced { order: i64 }
/// # impl outbox::Event for OrderPlaced {
/// #     const TOPIC: &'static str = "orders.placed";
/// #     fn key(&self) -> Option<String> { None }
/// # }
/// # async fn example(pool: sqlx::PgPool, consumer: inbox::Consumer) {
/// use postroom_testkit::assert_idempotent;
///
/// assert_idempotent(&pool, &consumer, &OrderPlaced { order: 7 }).await;
/// # }
/// ```
pub async fn assert_idempotent<E: Event>(pool: &PgPool, consumer: &Consumer, event: &E) {
    let delivery = Delivery::of(event).expect("the event can be published");
    let before = Snapshot::read(pool).await;
    let rehearsed = consumer.rehearse(delivery.clone()).await;
    expect("before the crash", rehearsed, Outcome::Handled);
    same(Run::Crashed, &before, &Snapshot::read(pool).await);

    let handled = consumer.handle(delivery.clone()).await;
    expect("after the crash", handled, Outcome::Handled);
    let once = Snapshot::read(pool).await;
    let again = consumer.handle(delivery).await;
    expect("a second time", again, Outcome::Duplicate);
    same(Run::Repeated, &once, &Snapshot::read(pool).await);
}

/// A run that must change nothing.
#[derive(Debug, Clone, Copy)]
enum Run {
    Crashed,
    Repeated,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crashed => "a crash before the commit",
            Self::Repeated => "the second delivery of the message",
        })
    }
}

fn expect(when: &str, result: Result<Outcome, AttemptError>, expected: Outcome) {
    match result {
        Ok(outcome) if outcome == expected => {}
        Ok(outcome) => panic!("the event was handled {when} with {outcome:?}, not {expected:?}"),
        Err(error) => panic!("cannot handle the event {when}: {error}"),
    }
}

fn same(run: Run, before: &Snapshot, after: &Snapshot) {
    let changes = before.changes(after);
    assert!(
        changes.is_empty(),
        "{run} leaves changes (- before, + after); write on the connection of the handler's context:{changes}"
    );
}
