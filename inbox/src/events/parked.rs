//! Events of parked and dead deliveries.

use metrics::counter;
use tracing::{error, info, warn};

use crate::Reason;

/// A delivery was parked.
pub(crate) struct Parked<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) reason: Reason,
}

impl Parked<'_> {
    pub(crate) fn emit(self) {
        if self.reason == Reason::Unhandled {
            warn!(
                reason = %self.reason,
                "parked: no handler here takes its type; a process that has one may take it within `max_unhandled`"
            );
        } else {
            info!(reason = %self.reason, "parked");
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
