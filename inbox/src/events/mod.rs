//! The facts that the inbox reports: one struct for each, whose `emit` writes the log line and updates the
//! metrics. A consumer's counters exist from its start, with the value 0.
//!
//! | Metric | Type | Labels | Counts |
//! |---|---|---|---|
//! | `postroom_inbox_handled_total` | counter | `consumer`, `origin` | deliveries handled; origin `queue` or `parked` |
//! | `postroom_inbox_handling_seconds` | histogram | `consumer` | time of the attempt that handled a delivery: the layers', the wait for a connection and, in a shared transaction, for the others included |
//! | `postroom_inbox_duplicates_total` | counter | `consumer` | deliveries that had been handled or parked before |
//! | `postroom_inbox_duplicate_keys_total` | counter | `consumer` | deliveries with an id of their own whose idempotency key another message had |
//! | `postroom_inbox_parked_total` | counter | `consumer`, `reason` | deliveries parked, dead ones included |
//! | `postroom_inbox_dead_total` | counter | `consumer`, `reason` | deliveries that now wait for an operator |
//! | `postroom_inbox_faults_not_sent_total` | counter | `consumer` | requests given up whose requester could not be told |
//! | `postroom_inbox_untrusted_dropped_total` | counter | `consumer` | deliveries of untrusted publishers beyond those that are kept |
//! | `postroom_inbox_failed_attempts_total` | counter | `consumer` | attempts that failed |
//! | `postroom_inbox_shared_failed_total` | counter | `consumer` | shared transactions that failed: each of their messages was handled by itself |
//! | `postroom_inbox_stuck_attempts_total` | counter | `consumer` | attempts that took minutes longer than their handlers may: a layer hangs |
//! | `postroom_inbox_reruns_total` | counter | `consumer` | attempts run again after a conflict or a lost connection |
//! | `postroom_inbox_database_unavailable_total` | counter | `consumer` | times the database could not be used |
//! | `postroom_inbox_connected_total` | counter | `consumer` | connections to the broker made |
//! | `postroom_inbox_disconnected_total` | counter | `consumer` | connections to the broker lost, or not made |
//! | `postroom_inbox_no_exchange_total` | counter | `consumer` | minutes, begun, of waiting for an exchange that does not exist |
//! | `postroom_inbox_unacknowledged_total` | counter | `consumer` | acknowledgements that did not reach the broker |
//! | `postroom_inbox_not_bound_total` | counter | `consumer` | times that the queue could not be bound again to its topics |
//! | `postroom_inbox_newer_version_messages` | gauge | `consumer` | parked deliveries that wait for a process that knows their version, up to 10,000 |
//! | `postroom_inbox_partitions_held` | gauge | `consumer` | partitions that this process reads |
//! | `postroom_inbox_partition_locks_lost_total` | counter | `consumer` | sessions lost that held the locks on this process's partitions |
//! | `postroom_inbox_layout_steps_total` | counter | `consumer`, `step` | steps of changes of the layout that this process took as leader; step `binding`, `draining`, `retiring` or `ready` |
//! | `postroom_inbox_layout_waits_total` | counter | `consumer` | minutes, begun, in which a change of the layout waited for other processes |
//! | `postroom_inbox_orphans_total` | counter | `consumer` | parked deliveries released that nobody was going to release |
//! | `postroom_inbox_frozen_ended_total` | counter | `consumer` | sessions ended that held up messages, of processes that were frozen or cut off |
//! | `postroom_inbox_leaves_truncated_total` | counter | `consumer` | days of ids forgotten |
//! | `postroom_inbox_aborted_total` | counter | `consumer` | handlers aborted when the grace period ended |

mod broker;
mod database;
#[cfg(test)]
mod frozen;
mod handling;
mod parked;
mod partitions;
mod zero;

pub(crate) use self::{
    broker::{Connected, Disconnected, NoExchange, NotBound, Unacknowledged},
    database::{DatabaseUnavailable, DatabaseUnverified, FrozenEnded, LeafTruncated},
    handling::{
        Aborted, Alone, AttemptFailed, Duplicate, DuplicateKey, Handled, Rerun, SharedFailed, Stuck,
    },
    parked::{Dead, FaultNotSent, NewerVersions, OrphansReleased, Parked, UntrustedDropped},
    partitions::{LayoutChanged, LayoutWaits, LocksLost, PartitionReleased, PartitionTaken},
    zero::zero,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    fn quoted(source: &'static str, quote: char) -> BTreeSet<&'static str> {
        source
            .split(quote)
            .filter(|piece| piece.starts_with("postroom_inbox_"))
            .filter(|piece| !piece.contains(char::is_whitespace))
            .collect()
    }

    /// Names of the metrics that the table of this module lists.
    pub(super) fn listed() -> BTreeSet<&'static str> {
        quoted(include_str!("mod.rs"), '`')
    }

    /// Names of the metrics in a source file.
    pub(super) fn named(source: &'static str) -> BTreeSet<&'static str> {
        quoted(source, '"')
    }

    /// Names of the counters that the table of this module lists.
    pub(super) fn counters() -> BTreeSet<&'static str> {
        let mut listed = listed();
        listed.retain(|name| name.ends_with("_total"));
        listed
    }

    #[test]
    fn the_table_names_every_metric_and_no_other() {
        let emitted: BTreeSet<_> = [
            include_str!("broker.rs"),
            include_str!("database.rs"),
            include_str!("handling.rs"),
            include_str!("parked.rs"),
            include_str!("partitions.rs"),
        ]
        .into_iter()
        .flat_map(named)
        .collect();
        assert_eq!(listed(), emitted);
        assert_eq!(emitted.len(), 27);
    }
}
