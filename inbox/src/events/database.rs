//! Events of the database.

use metrics::counter;
use tracing::{info, warn};

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

/// The pool's server is on another machine, and its identity is not proven before it gets the password.
pub(crate) struct DatabaseUnverified<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) danger: &'a str,
}

impl DatabaseUnverified<'_> {
    pub(crate) fn emit(self) {
        warn!(
            consumer = self.consumer,
            danger = self.danger,
            "the database's password and data are not safe on their way; make the pool with sslmode=verify-full"
        );
    }
}

/// Sessions of processes that are frozen or disconnected were ended.
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
