//! Counters from zero.

use metrics::counter;

use crate::Reason;

/// Counters with the label `consumer` alone.
const COUNTERS: [&str; 20] = [
    "postroom_inbox_duplicates_total",
    "postroom_inbox_duplicate_keys_total",
    "postroom_inbox_faults_not_sent_total",
    "postroom_inbox_untrusted_dropped_total",
    "postroom_inbox_failed_attempts_total",
    "postroom_inbox_shared_failed_total",
    "postroom_inbox_stuck_attempts_total",
    "postroom_inbox_reruns_total",
    "postroom_inbox_database_unavailable_total",
    "postroom_inbox_connected_total",
    "postroom_inbox_disconnected_total",
    "postroom_inbox_no_exchange_total",
    "postroom_inbox_unacknowledged_total",
    "postroom_inbox_not_bound_total",
    "postroom_inbox_partition_locks_lost_total",
    "postroom_inbox_layout_waits_total",
    "postroom_inbox_orphans_total",
    "postroom_inbox_frozen_ended_total",
    "postroom_inbox_leaves_truncated_total",
    "postroom_inbox_aborted_total",
];

/// Registers every counter of a consumer, so that each exists before its first event: an increase from nothing to 1
/// is none for whoever computes rates.
pub(crate) fn zero(consumer: &str) {
    for name in COUNTERS {
        counter!(name, "consumer" => consumer.to_owned()).increment(0);
    }
    for origin in ["queue", "parked"] {
        counter!("postroom_inbox_handled_total", "consumer" => consumer.to_owned(), "origin" => origin)
            .increment(0);
    }
    for step in ["binding", "draining", "retiring", "ready"] {
        counter!("postroom_inbox_layout_steps_total", "consumer" => consumer.to_owned(), "step" => step)
            .increment(0);
    }
    for name in ["postroom_inbox_parked_total", "postroom_inbox_dead_total"] {
        for reason in Reason::ALL {
            counter!(name, "consumer" => consumer.to_owned(), "reason" => reason.as_str())
                .increment(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_counter_exists_from_the_start() {
        let listed = super::super::tests::counters();
        let zeroed: BTreeSet<_> = super::super::tests::named(include_str!("zero.rs"));
        assert_eq!(zeroed, listed);
    }
}
