//! Settings of time, number and patience.

use std::time::Duration;

use crate::{ConsumerBuilder, backoff::Backoff};

impl ConsumerBuilder {
    /// Sets how many messages are handled at the same time. Defaults to 8.
    ///
    /// Messages of one key are handled one after another, whatever the number. After a shared transaction
    /// has failed ([`messages_per_transaction`](Self::messages_per_transaction)) each of its messages runs
    /// by itself, at once: then it is the pool's connections that bound the number.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets how many messages may share a transaction. Defaults to 1, and to 100 where a handler
    /// takes many at once ([`on_many`](Self::on_many)).
    ///
    /// Many small transactions cost more than few large ones. With 50, say, a worker takes up to 50
    /// of the messages that wait, records them in one statement, calls their handlers one after
    /// another, commits once, and acknowledges them together. While fewer messages wait than
    /// workers, each still has a transaction of its own. If anything fails, the commit included, the
    /// transaction is rolled back and each message runs again by itself: a handler may then have run
    /// twice, as after a conflict, but has had its effect once.
    ///
    /// Messages pass the layers ([`layer`](Self::layer)) each for itself, before the transaction begins. Once
    /// the first has passed them, the transaction waits for the next one until none has come for 5 ms, and
    /// begins without those that come later: each of them passes the layers again, and runs by itself.
    ///
    /// Rows that handlers lock stay locked until the common end. Handlers of different keys that
    /// lock the same rows in different orders would run into deadlocks, each of which takes the
    /// server's `deadlock_timeout` to be found: leave it at 1 for them.
    #[must_use]
    pub fn messages_per_transaction(mut self, most: usize) -> Self {
        self.messages_per_transaction = Some(most);
        self
    }

    pub(super) fn group_size(&self) -> usize {
        let many = self.router.has_many();
        self.messages_per_transaction
            .unwrap_or(if many { 100 } else { 1 })
    }

    /// Sets how many parked messages are tried again at the same time. Defaults to 1.
    ///
    /// More make the backlogs of many keys drain faster after an outage. One of them alone runs
    /// messages that may end the process.
    #[must_use]
    pub fn parked_workers(mut self, workers: usize) -> Self {
        self.parked_workers = workers;
        self
    }

    /// Sets the longest time that a handler may take; then it is dropped and has failed, and a
    /// statement of its own that still runs is cancelled. Defaults to 30 seconds.
    #[must_use]
    pub fn handler_timeout(mut self, limit: Duration) -> Self {
        self.handler_timeout = limit;
        self
    }

    /// Sets for how long running handlers may go on after the shutdown; then they are aborted, and
    /// their messages come again. Defaults to 20 seconds.
    ///
    /// Handlers of messages that share a transaction
    /// ([`messages_per_transaction`](Self::messages_per_transaction)) are finished one after another: if the time
    /// is too short for all of them, nothing of what they did is kept.
    #[must_use]
    pub fn grace_period(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how often a message is tried before it is parked. Defaults to 3.
    ///
    /// Its key and a worker wait meanwhile.
    #[must_use]
    pub fn attempts_in_place(mut self, attempts: u32) -> Self {
        self.limits.attempts_in_place = attempts;
        self
    }

    /// Sets the waits between those attempts: the first one, doubled each time, and the longest.
    /// Defaults to 100 milliseconds and 2 seconds. All waits vary by up to a half.
    #[must_use]
    pub fn backoff_in_place(mut self, first: Duration, longest: Duration) -> Self {
        self.limits.in_place = Backoff::new(first, longest);
        self
    }

    /// Sets how often a message is tried at all; then it is dead, and waits for an operator.
    /// Defaults to 10, those in place included.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.limits.max_attempts = attempts;
        self
    }

    /// Sets the waits between attempts of a parked message: the first one, doubled each time, and
    /// the longest. Defaults to 10 seconds and 1 hour.
    #[must_use]
    pub fn backoff_parked(mut self, first: Duration, longest: Duration) -> Self {
        self.limits.parked = Backoff::new(first, longest);
        self
    }

    /// Sets after how many redeliveries a message is taken for one whose handler ends the process,
    /// and parked to be run by itself. Defaults to 3.
    ///
    /// The broker counts them, for quorum queues. It counts lost connections too: those that this process has
    /// lost and survived are taken off. It cannot tell what was begun from what was only sent ahead: if so many
    /// processes end one after another while messages wait in them, as in restarts while handlers hang, all of
    /// those are set apart, and run one by one. Set it higher where that is usual.
    #[must_use]
    pub fn max_crashes(mut self, redeliveries: u64) -> Self {
        self.limits.max_crashes = redeliveries;
        self
    }

    /// Sets for how long a handler may put a message off, from the first time on; then it is dead. A
    /// longer wait that it asks for is cut to this. Defaults to 24 hours.
    #[must_use]
    pub fn max_deferral(mut self, longest: Duration) -> Self {
        self.limits.max_deferral = longest;
        self
    }

    /// Sets for how long a message that no handler takes waits for a process of the consumer that has a
    /// handler for its type; then it is dead, as `unhandled`. Its key waits with it. Defaults to 5 minutes.
    ///
    /// While a new release replaces an old one, the old one is sent messages of the new one's types. The time
    /// should be longer than that takes. A queue that is bound to topics which nobody handles any more is to
    /// be unbound from them.
    #[must_use]
    pub fn max_unhandled(mut self, longest: Duration) -> Self {
        self.limits.max_unhandled = longest;
        self
    }

    /// Sets whether the key of a dead message goes on without it. Defaults to false: order is a
    /// promise, and later messages wait for the operator too.
    ///
    /// That is so of those that failed, were rejected, could not be decoded or ended their process. The others
    /// could not have been handled in order, and let their keys go in any case.
    #[must_use]
    pub fn release_dead_keys(mut self, release: bool) -> Self {
        self.limits.release_dead_keys = release;
        self
    }

    /// Sets for how long handled messages are remembered. Defaults to 30 days, at most 58.
    ///
    /// What has been forgotten under a shorter window stays so: after the window was made longer, a copy of a
    /// message older than the old one is handled again, until the old one's length has passed.
    ///
    /// An older message is not handled: it is parked dead as `stale`. So the window must be longer
    /// than any message is held back, by `deliver_after` or by an outage. All processes of a
    /// consumer use the same window.
    ///
    /// Ids that are no UUID version 7 tell no time; where such a message tells none either, it is
    /// handled again once it has been forgotten.
    #[must_use]
    pub fn dedup_window(mut self, length: Duration) -> Self {
        self.window = length;
        self
    }

    /// Sets how far a message may lie in the future, by the database's clock. Defaults to 1 day,
    /// at most 2. Beyond, it is parked dead as `future`. Tried again, it is handled as soon as its time is not
    /// as far ahead any more; before, its copies would not find that it was.
    #[must_use]
    pub fn future_skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }
}
