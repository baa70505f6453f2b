//! Settings of concurrency, retries, time limits and the dedup window.

use std::time::Duration;

use postroom_message::Backoff;

use crate::ConsumerBuilder;

impl<S> ConsumerBuilder<S> {
    /// Sets the number of workers. Defaults to 8. Each worker handles one message from the queue, or one
    /// shared transaction, at a time.
    ///
    /// Messages of one key are always handled one after another.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Zero`](crate::BuildError::Zero) for 0, and
    /// [`BuildError::Pool`](crate::BuildError::Pool) if the pool has fewer connections than workers, parked
    /// workers and one more.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets how many messages may share a transaction. Defaults to 1, or to 100 if a handler was added with
    /// [`on_many`](Self::on_many).
    ///
    /// Many small transactions cost more than few large ones. With 50, for example, a worker takes up to 50
    /// waiting messages, records them in one statement, calls their handlers one after another, commits
    /// once, and acknowledges them together. While fewer messages wait than there are free workers, each
    /// message still has a separate transaction. If anything fails, the commit included, the transaction is
    /// rolled back and each message runs again separately. A handler may then have run twice, as after a
    /// conflict, but its effect is committed once.
    ///
    /// Each call of a handler passes the layers ([`layer`](Self::layer)), inside the shared transaction.
    ///
    /// Rows that a handler locks stay locked until the shared transaction ends. If handlers of different
    /// keys lock the same rows in different orders, deadlocks occur, and the server takes its
    /// `deadlock_timeout` to find each: use 1 for such handlers.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Zero`](crate::BuildError::Zero) for 0, and
    /// [`BuildError::AdmissionOfMany`](crate::BuildError::AdmissionOfMany) for more than 1 with an
    /// [`admission_layer`](Self::admission_layer).
    pub fn messages_per_transaction(mut self, most: usize) -> Self {
        self.messages_per_transaction = Some(most);
        self
    }

    /// Returns the configured number of messages per transaction, or its default.
    pub(super) fn group_size(&self) -> usize {
        let many = self.router.has_many();
        self.messages_per_transaction
            .unwrap_or(if many { 100 } else { 1 })
    }

    /// Sets how many parked messages are retried at the same time. Defaults to 1.
    ///
    /// With a higher number the backlogs of many keys shrink faster after an outage. Messages that are
    /// suspected of ending the process ([`max_crashes`](Self::max_crashes)) are always retried by a single
    /// worker, one at a time.
    ///
    /// # Errors
    /// As [`workers`](Self::workers).
    pub fn parked_workers(mut self, workers: usize) -> Self {
        self.parked_workers = workers;
        self
    }

    /// Sets the longest time that a handler may take. Defaults to 30 seconds.
    ///
    /// When the time is over, the handler's future is dropped, its database session is ended, and the attempt
    /// has failed.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Zero`](crate::BuildError::Zero) for a duration of zero.
    pub fn handler_timeout(mut self, limit: Duration) -> Self {
        self.handler_timeout = limit;
        self
    }

    /// Sets how long running handlers may continue after the shutdown was requested. Defaults to 20 seconds.
    /// When the time is over, the handlers are aborted and the broker redelivers their messages.
    ///
    /// Handlers of messages that share a transaction
    /// ([`messages_per_transaction`](Self::messages_per_transaction)) run one after another: if the time is
    /// too short for all of them, the whole transaction is rolled back.
    pub fn grace_period(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how many attempts a failing message gets before it is parked. Defaults to 3.
    ///
    /// Between the attempts the message occupies its worker, and later messages of its key wait.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Zero`](crate::BuildError::Zero) for 0.
    pub fn attempts_in_place(mut self, attempts: u32) -> Self {
        self.limits.attempts_in_place = attempts;
        self
    }

    /// Sets the first and the longest wait between the attempts before parking. Defaults to 100 milliseconds
    /// and 2 seconds.
    ///
    /// The wait doubles after each attempt, up to the longest. Each actual wait is a random time between
    /// half of this value and the full value. A first wait of zero means no waits; a first wait above the
    /// longest counts as the longest.
    pub fn backoff_in_place(mut self, first: Duration, longest: Duration) -> Self {
        self.limits.in_place = Backoff::new(first, longest);
        self
    }

    /// Sets how many attempts a failing message gets in all, those before parking included. Defaults to 10.
    /// After the last attempt the message is dead: it waits for an operator.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Zero`](crate::BuildError::Zero) for 0.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.limits.max_attempts = attempts;
        self
    }

    /// Sets the first and the longest wait between the attempts at a parked message. Defaults to 10 seconds
    /// and 1 hour. The waits grow and vary as in [`backoff_in_place`](Self::backoff_in_place).
    pub fn backoff_parked(mut self, first: Duration, longest: Duration) -> Self {
        self.limits.parked = Backoff::new(first, longest);
        self
    }

    /// Sets after how many redeliveries a message is suspected of ending the process, and parked to run
    /// alone. Defaults to 3.
    ///
    /// The broker counts redeliveries of quorum queues. Its count includes redeliveries after a lost
    /// connection; the consumer subtracts the connections that this process has lost and survived. The
    /// broker cannot distinguish messages that a handler had begun from messages that were only prefetched.
    /// So if this many processes end one after another with messages in memory, as in restarts while
    /// handlers hang, all of these messages are parked and run one by one. Use a higher number where such
    /// restarts are usual.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Zero`](crate::BuildError::Zero) for 0.
    pub fn max_crashes(mut self, redeliveries: u64) -> Self {
        self.limits.max_crashes = redeliveries;
        self
    }

    /// Sets how long a handler may defer a message, counted from the first deferral. Defaults to 24 hours.
    /// After this time the message is dead. A longer wait that a handler asks for is shortened to this length.
    pub fn max_deferral(mut self, longest: Duration) -> Self {
        self.limits.max_deferral = longest;
        self
    }

    /// Sets how long a message without a handler waits, parked, for a process of the consumer that has a
    /// handler for its type. Defaults to 5 minutes. Later messages of its key wait behind it. After this
    /// time the message is dead, with the reason `unhandled`.
    ///
    /// During a deployment the old release receives messages of types that only the new release handles, so
    /// the time should exceed the duration of a deployment. If no release handles a topic any more, unbind
    /// the queue from the topic.
    pub fn max_unhandled(mut self, longest: Duration) -> Self {
        self.limits.max_unhandled = longest;
        self
    }

    /// Sets whether later messages of a key are handled although an earlier one is dead. Defaults to
    /// `false`: order is guaranteed, so later messages wait until an operator retries or discards the dead
    /// one.
    ///
    /// The setting concerns messages that failed, were rejected, could not be decoded or ended their
    /// process. Messages that are dead as `stale`, `future`, `no_id`, `unhandled` or `deferred` never block
    /// their key: they could not have been handled in order.
    pub fn release_dead_keys(mut self, release: bool) -> Self {
        self.limits.release_dead_keys = release;
        self
    }

    /// Sets how long the ids of handled messages are kept. Defaults to 30 days, at most 58 days.
    ///
    /// A message older than the window is not handled: it is parked dead with the reason `stale`. So the
    /// window must exceed the longest delay of a message, by `deliver_after` or by an outage. All processes
    /// of a consumer must use the same window.
    ///
    /// Lengthening the window does not restore ids that were already deleted. So a copy of a message older than
    /// the previous window may be handled again until as much time has passed since the change as the window
    /// was lengthened by: after a change from 7 to 30 days, for 23 days.
    ///
    /// Only a UUID version 7 contains a time. A message with another kind of id and without a time property
    /// is handled again if it arrives after its id was deleted.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Window`](crate::BuildError::Window) above 58 days, and
    /// [`BuildError::Zero`](crate::BuildError::Zero) for a duration of zero.
    pub fn dedup_window(mut self, length: Duration) -> Self {
        self.window = length;
        self
    }

    /// Sets how far a message's time may be ahead of the database's clock. Defaults to 1 day, at most 2
    /// days.
    ///
    /// A message further ahead is parked dead with the reason `future`. A retry by an operator succeeds once
    /// the message's time is within the limit; an earlier success could not be recorded where copies of the
    /// message would find it.
    ///
    /// # Errors
    /// `build` returns [`BuildError::Window`](crate::BuildError::Window) above 2 days.
    pub fn future_skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }
}
