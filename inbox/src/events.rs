//! The facts that the inbox reports: one struct each, whose `emit` writes the log line and counts.
//!
//! | Metric | Type | Labels | Counts |
//! |---|---|---|---|
//! | `postroom_inbox_handled_total` | counter | `consumer`, `origin` | deliveries handled; origin `queue` or `parked` |
//! | `postroom_inbox_handling_seconds` | histogram | `consumer` | time of the attempt that handled a delivery: the layers', the wait for a connection and, in a shared transaction, for the others included |
//! | `postroom_inbox_duplicates_total` | counter | `consumer` | deliveries that had been handled or parked before |
//! | `postroom_inbox_parked_total` | counter | `consumer`, `reason` | deliveries parked, dead ones included |
//! | `postroom_inbox_dead_total` | counter | `consumer`, `reason` | deliveries that now wait for an operator |
//! | `postroom_inbox_failed_attempts_total` | counter | `consumer` | attempts that failed |
//! | `postroom_inbox_shared_failed_total` | counter | `consumer` | shared transactions that failed: each of their messages was handled by itself |
//! | `postroom_inbox_reruns_total` | counter | `consumer` | attempts run again after a conflict or a lost connection |
//! | `postroom_inbox_database_unavailable_total` | counter | `consumer` | times the database could not be used |
//! | `postroom_inbox_connected_total` | counter | `consumer` | connections to the broker made |
//! | `postroom_inbox_disconnected_total` | counter | `consumer` | connections to the broker lost, or not made |
//! | `postroom_inbox_unacknowledged_total` | counter | `consumer` | acknowledgements that did not reach the broker |
//! | `postroom_inbox_not_bound_total` | counter | `consumer` | times that the queue could not be bound again to its topics |
//! | `postroom_inbox_orphans_total` | counter | `consumer` | parked deliveries released that nobody was going to release |
//! | `postroom_inbox_frozen_ended_total` | counter | `consumer` | sessions ended that held up messages, of processes that were frozen or cut off |
//! | `postroom_inbox_leaves_truncated_total` | counter | `consumer` | days of ids forgotten |
//! | `postroom_inbox_aborted_total` | counter | `consumer` | handlers aborted when the grace period ended |

use std::time::Duration;

use metrics::{counter, histogram};
use tracing::{debug, error, info, warn};

use crate::Reason;

/// A delivery was handled and its transaction committed.
pub(crate) struct Handled<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) origin: &'static str,
    pub(crate) took: Duration,
}

impl Handled<'_> {
    pub(crate) fn emit(self) {
        debug!(origin = self.origin, took = ?self.took, "handled");
        let consumer = self.consumer.to_owned();
        counter!("postroom_inbox_handled_total", "consumer" => consumer.clone(), "origin" => self.origin)
            .increment(1);
        histogram!("postroom_inbox_handling_seconds", "consumer" => consumer)
            .record(self.took.as_secs_f64());
    }
}

/// A delivery had been handled or parked before.
pub(crate) struct Duplicate<'a> {
    pub(crate) consumer: &'a str,
}

impl Duplicate<'_> {
    pub(crate) fn emit(self) {
        debug!("a duplicate; not handled again");
        counter!("postroom_inbox_duplicates_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// A delivery was parked.
pub(crate) struct Parked<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) reason: Reason,
}

impl Parked<'_> {
    pub(crate) fn emit(self) {
        info!(reason = %self.reason, "parked");
        counter!("postroom_inbox_parked_total", "consumer" => self.consumer.to_owned(), "reason" => self.reason.as_str())
            .increment(1);
    }
}

/// A delivery can only be revived by an operator.
pub(crate) struct Dead<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) reason: Reason,
    pub(crate) error: Option<&'a str>,
}

impl Dead<'_> {
    pub(crate) fn emit(self) {
        error!(
            reason = %self.reason,
            error = self.error,
            "given up; look at inbox.parked, then use inbox.retry or inbox.discard"
        );
        counter!("postroom_inbox_dead_total", "consumer" => self.consumer.to_owned(), "reason" => self.reason.as_str())
            .increment(1);
    }
}

/// An attempt failed.
pub(crate) struct AttemptFailed<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) attempt: u32,
    pub(crate) error: &'a str,
}

impl AttemptFailed<'_> {
    pub(crate) fn emit(self) {
        warn!(
            attempt = self.attempt,
            error = self.error,
            "an attempt failed"
        );
        counter!("postroom_inbox_failed_attempts_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// A transaction that messages shared was rolled back, and each is handled by itself.
pub(crate) struct SharedFailed<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) messages: usize,
    pub(crate) error: &'a str,
}

impl SharedFailed<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            messages = self.messages,
            error = self.error,
            "a shared transaction failed; each of its messages is handled by itself"
        );
        counter!("postroom_inbox_shared_failed_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// An attempt met a conflict or lost its connection, and is run again.
pub(crate) struct Rerun<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) error: &'a str,
}

impl Rerun<'_> {
    pub(crate) fn emit(self) {
        debug!(error = self.error, "run again");
        counter!("postroom_inbox_reruns_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// The database could not be used.
pub(crate) struct DatabaseUnavailable<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) doing: &'static str,
    pub(crate) error: &'a str,
}

impl DatabaseUnavailable<'_> {
    pub(crate) fn emit(self) {
        warn!(
            doing = self.doing,
            error = self.error,
            "the database cannot be used; trying again"
        );
        counter!("postroom_inbox_database_unavailable_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// The consumer is connected and receives.
pub(crate) struct Connected<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) queue: &'a str,
}

impl Connected<'_> {
    pub(crate) fn emit(self) {
        info!(consumer = self.consumer, queue = self.queue, "consuming");
        counter!("postroom_inbox_connected_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// The connection to the broker was lost, or could not be made.
pub(crate) struct Disconnected<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) error: &'a str,
    pub(crate) retry_in: Duration,
}

impl Disconnected<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            error = self.error,
            retry_in = ?self.retry_in,
            "not connected to the broker; trying again"
        );
        counter!("postroom_inbox_disconnected_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// A handled delivery could not be acknowledged. It comes again, and is a duplicate then.
pub(crate) struct Unacknowledged<'a> {
    pub(crate) consumer: &'a str,
}

impl Unacknowledged<'_> {
    pub(crate) fn emit(self) {
        debug!("not acknowledged; it comes again as a duplicate");
        counter!("postroom_inbox_unacknowledged_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// The queue may not be bound to all topics, and could not be bound again.
pub(crate) struct NotBound<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) error: &'a str,
}

impl NotBound<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            error = self.error,
            "the queue could not be bound again; messages may not come"
        );
        counter!("postroom_inbox_not_bound_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// Parked deliveries waited for rows that were gone.
pub(crate) struct OrphansReleased<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) rows: u64,
}

impl OrphansReleased<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            rows = self.rows,
            "released parked deliveries whose predecessors were deleted by hand"
        );
        counter!("postroom_inbox_orphans_total", "consumer" => self.consumer.to_owned())
            .increment(self.rows);
    }
}

/// Sessions of processes that are frozen or cut off were ended.
pub(crate) struct FrozenEnded<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) sessions: i64,
}

impl FrozenEnded<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            sessions = self.sessions,
            "ended sessions that held up messages, idle in a transaction for longer than a handler may take: \
             is a process frozen, or cut off?"
        );
        counter!("postroom_inbox_frozen_ended_total", "consumer" => self.consumer.to_owned())
            .increment(self.sessions as u64);
    }
}

/// A leaf of ids beyond the dedup window was emptied.
pub(crate) struct LeafTruncated<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) slot: i16,
}

impl LeafTruncated<'_> {
    pub(crate) fn emit(self) {
        info!(
            consumer = self.consumer,
            slot = self.slot,
            "forgot the ids of a day beyond the dedup window"
        );
        counter!("postroom_inbox_leaves_truncated_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// Handlers still ran when the grace period ended.
pub(crate) struct Aborted<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) handlers: u64,
}

impl Aborted<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            handlers = self.handlers,
            "aborted handlers at the end of the grace period; their messages come again"
        );
        counter!("postroom_inbox_aborted_total", "consumer" => self.consumer.to_owned())
            .increment(self.handlers);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_table_names_every_metric_and_no_other() {
        let source = include_str!("events.rs");
        let quoted = |quote: char| -> BTreeSet<&str> {
            let pieces = source.split(quote);
            pieces
                .filter(|piece| piece.starts_with("postroom_inbox_"))
                .filter(|piece| !piece.contains(char::is_whitespace))
                .collect()
        };
        let mut emitted = quoted('"');
        emitted.remove("postroom_inbox_");
        assert_eq!(quoted('`'), emitted);
        assert_eq!(emitted.len(), 17);
    }
}
