//! Events of deliveries and their attempts.

use std::time::Duration;

use metrics::{counter, histogram};
use tracing::{debug, info, warn};

use crate::idempotency;

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

/// A delivery has the idempotency key of another message, which was handled before.
pub(crate) struct DuplicateKey<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) type_name: &'static str,
    pub(crate) key: &'a str,
}

impl<'a> DuplicateKey<'a> {
    pub(crate) fn of(consumer: &'a str, known: &'a idempotency::DuplicateKey) -> Self {
        Self {
            consumer,
            type_name: known.type_name,
            key: &known.key.text,
        }
    }

    pub(crate) fn emit(self) {
        info!(
            r#type = self.type_name,
            idempotency_key = self.key,
            "another message with this idempotency key was handled before; not handled"
        );
        counter!("postroom_inbox_duplicate_keys_total", "consumer" => self.consumer.to_owned())
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

/// A shared transaction was rolled back, and each of its messages is handled separately.
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

/// An attempt takes longer than its transaction can take.
pub(crate) struct Stuck<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) waited: Duration,
}

impl Stuck<'_> {
    pub(crate) fn emit(self) {
        warn!(
            waited = ?self.waited,
            "an attempt has not ended, and its worker waits for it: does a layer around the handler hang?"
        );
        counter!("postroom_inbox_stuck_attempts_total", "consumer" => self.consumer.to_owned())
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

/// A delivery cannot share a transaction, and is handled separately. Not counted: a rollback of the shared
/// transaction is counted once, as [`SharedFailed`].
pub(crate) struct Alone<'a> {
    pub(crate) error: &'a str,
}

impl Alone<'_> {
    pub(crate) fn emit(self) {
        debug!(error = self.error, "handled by itself");
    }
}

/// Handlers that still ran at the end of the grace period were aborted.
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
