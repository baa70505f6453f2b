//! Events of parked and dead deliveries.

use std::time::Duration;

use metrics::{counter, gauge};
use outbox::PublishError;
use postroom_message::errors::chain;
use tracing::{error, info, warn};

use crate::Reason;

/// A delivery was parked.
pub(crate) struct Parked<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) reason: Reason,
}

impl Parked<'_> {
    pub(crate) fn emit(self) {
        match self.reason {
            Reason::Unhandled => warn!(
                reason = %self.reason,
                "parked: no handler here takes its type; a process that has one may take it within `max_unhandled`"
            ),
            Reason::NewerVersion => warn!(
                reason = %self.reason,
                "parked: its body has a newer version than this process knows; it waits, and holds its key, until a process that knows the version runs"
            ),
            _ => info!(reason = %self.reason, "parked"),
        }
        counter!("postroom_inbox_parked_total", "consumer" => self.consumer.to_owned(), "reason" => self.reason.as_str())
            .increment(1);
    }
}

/// A delivery is dead: it is tried again only if an operator retries it.
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

/// A request was given up, and its fault could not be written: whoever waits for the reply waits until the time is over.
pub(crate) struct FaultNotSent<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) error: &'a PublishError,
}

impl FaultNotSent<'_> {
    pub(crate) fn emit(self) {
        warn!(
            error = chain(self.error),
            "gave up a request without telling the requester; grant outbox_producer to the consumer's login"
        );
        counter!("postroom_inbox_faults_not_sent_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// A delivery of an untrusted publisher was dropped, because enough are kept. Logged at most once a minute.
pub(crate) struct UntrustedDropped<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) error: Option<&'a str>,
    pub(crate) kept: u32,
    pub(crate) is_logged: bool,
}

impl UntrustedDropped<'_> {
    pub(crate) fn emit(self) {
        if self.is_logged {
            warn!(
                consumer = self.consumer,
                error = self.error,
                kept = self.kept,
                "dropped a message of an untrusted publisher, as enough are kept; look at inbox.parked, find the publisher, then use inbox.discard"
            );
        }
        counter!("postroom_inbox_untrusted_dropped_total", "consumer" => self.consumer.to_owned())
            .increment(1);
    }
}

/// Parked deliveries wait for a process that knows the version of their bodies.
pub(crate) struct NewerVersions<'a> {
    pub(crate) consumer: &'a str,
    /// Number of deliveries, counted up to a limit.
    pub(crate) messages: i64,
    /// Time since the first of them was parked.
    pub(crate) oldest: Duration,
    pub(crate) is_logged: bool,
}

impl NewerVersions<'_> {
    pub(crate) fn emit(self) {
        if self.is_logged {
            warn!(
                consumer = self.consumer,
                messages = self.messages,
                oldest = ?self.oldest,
                "messages wait for a process that knows the version of their bodies, and hold their keys; start the newer release, or look at inbox.parked"
            );
        }
        gauge!("postroom_inbox_newer_version_messages", "consumer" => self.consumer.to_owned())
            .set(self.messages as f64);
    }
}

/// Parked deliveries that waited behind deleted rows were released.
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
