//! Proof that everything has settled, from the records of the outboxes and inboxes alone.
//!
//! Each round reads every outbox, and then every inbox, each by one statement, hence in one snapshot. A message has
//! settled for a consumer when the consumer's inbox has recorded the message and keeps no parked row of it, or when the
//! relay has recorded that it dropped the message. Everything has settled when two rounds in a row find the same
//! messages, and all of them settled. Let T be a moment between the two rounds:
//! - A message that was committed at T is in the second round, since rows of an outbox are only added. It is in the
//!   first round too, since both found the same messages.
//! - The first round, which was over at T, found it recorded. A record stays, and a recorded message is not handled
//!   again.
//!
//! So at T no handler ran or was still to run, and nothing else was there to publish a message. One round alone proves
//! less: after it has read an outbox, a handler can commit a record that the same round reads, and a message that the
//! round does not.
//!
//! The proof cannot see transactions of others that are still open, consumers that are not named, and a message
//! that a queue took although the relay dropped it later, after an attempt whose outcome the relay did not learn.

mod entry;
mod inbox;
mod outbox;
mod place;
mod report;
mod round;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use entry::{Consumer, Target};
pub use report::Unsettled;

use inbox::Inbox;
use outbox::Outbox;
use round::Round;

/// Default of [`Settled::patience`].
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits between two rounds.
const SHORTEST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Waits until everything has settled.
///
/// Each round reads all messages, so the cost grows with their number: on two cores, a call costs 6 ms where 100 messages
/// have settled, and 0.24 s where 10,000 have. Where many tests share a database, begin at a position.
///
/// ```no_run
/// # async fn example(orders: sqlx::PgPool, billing: sqlx::PgPool) -> Result<(), postroom_testkit::SettledError> {
/// use postroom_testkit::{Consumer, Settled};
///
/// Settled::new()
///     .outbox("orders", &orders)
///     .outbox("billing", &billing)
///     .consumer(Consumer::new("billing", &billing, ["orders.#"]))
///     .wait()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Settled {
    outboxes: Vec<Outbox>,
    inboxes: Vec<Inbox>,
    patience: Duration,
}

/// Result of a wait: everything has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// Number of messages that a named consumer takes. 0 may mean that a topic is misspelt.
    pub messages: usize,
}

/// Error of a wait.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettledError {
    /// Some messages have not settled, and nothing changed any more.
    #[error(transparent)]
    Unsettled(#[from] Unsettled),
    /// A database did not answer.
    #[error(
        "cannot read whether everything has settled: {0}; use a login that may read outbox and inbox"
    )]
    Database(#[from] sqlx::Error),
}

impl Default for Settled {
    fn default() -> Self {
        Self::new()
    }
}

impl Settled {
    /// Begins with no outbox and no consumer.
    pub const fn new() -> Self {
        Self {
            outboxes: Vec::new(),
            inboxes: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// Adds an outbox with all its messages. `source` is the `amqp.source` of its relay: inboxes record ids that are no
    /// UUID version 7 together with their source.
    #[must_use]
    pub fn outbox(self, source: &str, database: impl Into<Target>) -> Self {
        self.outbox_since(source, database, 0)
    }

    /// Adds an outbox with its messages above a position (see [`Settled::position`]), where tests share a database.
    #[must_use]
    pub fn outbox_since(
        mut self,
        source: &str,
        database: impl Into<Target>,
        position: i64,
    ) -> Self {
        self.outboxes.push(Outbox {
            source: source.to_owned(),
            pool: database.into().0,
            since: position,
        });
        self
    }

    /// Returns the highest position of a committed message: where a test begins. Messages of others that are committed
    /// later may lie below.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn position(database: impl Into<Target>) -> sqlx::Result<i64> {
        outbox::highest_position(&database.into().0).await
    }

    /// Adds a consumer.
    #[must_use]
    pub fn consumer(mut self, consumer: Consumer) -> Self {
        self.inboxes.push(consumer.0);
        self
    }

    /// Sets for how long nothing may change before the wait gives up, however long it has lasted. Defaults to 30 s.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Waits until everything has settled.
    ///
    /// # Errors
    /// Fails if nothing changes any more, or at once if only an operator can change anything; the error names each
    /// message that has not settled and its place. Fails if a database does not answer.
    pub async fn wait(&self) -> Result<Settlement, SettledError> {
        let mut before: Option<Round> = None;
        let mut changed = Instant::now();
        let mut wait = SHORTEST_WAIT;
        loop {
            let round = Round::read(&self.outboxes, &self.inboxes).await?;
            let is_same = before.is_some_and(|before| round.is_same(&before));
            if is_same && round.is_settled() {
                let messages = round.messages();
                return Ok(Settlement { messages });
            }
            if !is_same {
                (changed, wait) = (Instant::now(), SHORTEST_WAIT);
            } else if changed.elapsed() >= self.patience || round.needs_an_operator() {
                return Err(Unsettled::new(&round, changed.elapsed()).into());
            }
            if !round.is_settled() {
                sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            before = Some(round);
        }
    }
}
