//! Waiting for rows of the database: all waits of one kind share a task, a connection and a statement for each look.

mod waits;

use std::{
    fmt::Debug,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use postroom_message::errors::chain;
use tokio::{
    sync::{Notify, oneshot},
    time::timeout_at,
};

use waits::Waits;

use crate::transaction::with_timeout;

/// Longest wait for the answer to a look.
const ANSWER: Duration = Duration::from_secs(5);

/// Progress of a look `L`.
pub(crate) type ProgressOf<L> = Progress<<L as Look>::End, <L as Look>::State>;

/// Result of a look at one key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress<End, State> {
    /// The wait ends.
    Ended(End),
    /// The wait goes on; the state is what was found.
    Open(State),
}

/// A question about many keys at once.
pub(crate) trait Look: Debug + Sized + Send + Sync + 'static {
    /// Identity of a row.
    type Key: Clone + Debug + Send + Sync;
    /// Result of a wait.
    type End: Debug + Send;
    /// State of a row that is waited for.
    type State: Clone + Debug + Send;

    /// Returns the progress for each of the keys, in their order.
    fn look(
        &self,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Vec<ProgressOf<Self>>, sqlx::Error>> + Send;
}

/// The open waits of one kind, and the task that looks for them while there are any.
#[derive(Debug)]
pub(crate) struct Polls<L: Look> {
    look: L,
    waits: Mutex<Waits<L>>,
    /// Notified when a wait begins.
    begun: Notify,
}

impl<L: Look> Polls<L> {
    pub(crate) fn new(look: L) -> Self {
        Self {
            look,
            waits: Mutex::default(),
            begun: Notify::new(),
        }
    }

    pub(crate) const fn question(&self) -> &L {
        &self.look
    }

    /// Begins a wait, and the task if none runs.
    pub(crate) fn begin(self: &Arc<Self>, key: L::Key) -> Wait<L> {
        let (sender, end) = oneshot::channel();
        let mut waits = self.waits();
        let number = waits.begin(key, sender, Instant::now());
        if !std::mem::replace(&mut waits.is_polled, true) {
            tokio::spawn(Arc::clone(self).run());
        }
        drop(waits);
        self.begun.notify_one();
        Wait {
            polls: Arc::clone(self),
            number,
            end,
        }
    }

    /// Looks until nobody waits.
    async fn run(self: Arc<Self>) {
        loop {
            let next = {
                let mut waits = self.waits();
                let next = waits.next_look();
                waits.is_polled = next.is_some();
                next
            };
            let Some(next) = next else {
                return;
            };
            // A new wait looks at once.
            let _ = timeout_at(next.into(), self.begun.notified()).await;
            let (numbers, keys) = self.waits().due(Instant::now());
            if numbers.is_empty() {
                continue;
            }
            let looked = with_timeout(ANSWER, self.look.look(&keys)).await;
            let now = Instant::now();
            match looked {
                Ok(found) => self.waits().found(&numbers, found, now),
                Err(error) => self.waits().failed(&numbers, &chain(&error), now),
            }
        }
    }

    fn waits(&self) -> MutexGuard<'_, Waits<L>> {
        // No method of `Waits` can panic halfway through a change, so a poisoned lock is still consistent.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open wait. Dropped, it ends the wait.
#[derive(Debug)]
pub(crate) struct Wait<L: Look> {
    polls: Arc<Polls<L>>,
    number: u64,
    end: oneshot::Receiver<L::End>,
}

impl<L: Look> Wait<L> {
    /// Waits for the end. Never completes after the runtime has ended the task. Cancel safe.
    pub(crate) async fn ended(&mut self) -> L::End {
        match (&mut self.end).await {
            Ok(end) => end,
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the state at the last look, or the error of that look; `None` before the first one.
    pub(crate) fn last_seen(&self) -> Option<Result<L::State, String>> {
        self.polls.waits().last_seen(self.number)
    }
}

impl<L: Look> Drop for Wait<L> {
    fn drop(&mut self) {
        self.polls.waits().remove(self.number);
    }
}
