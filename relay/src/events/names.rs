//! Names and descriptions of the metrics.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use relay_core::publish::Reason;

/// All metrics, each with its description.
pub const METRICS: &[(&str, &str)] = &[
    (
        "postroom_relay_active",
        "1 while this relay holds the lease, 0 while it stands by",
    ),
    (
        "postroom_relay_broker_state",
        "0 disconnected, 1 connecting, 2 ready, 3 blocked, 4 connected, but nothing is confirmed yet",
    ),
    (
        "postroom_relay_broker_losses_total",
        "Broker connections lost or refused",
    ),
    (
        "postroom_relay_sessions_lost_total",
        "Database sessions lost while active",
    ),
    (
        "postroom_relay_delivered_total",
        "Messages confirmed and routed",
    ),
    (
        "postroom_relay_dropped_total",
        "Messages dropped as they were meant to: expired, unroutable and listed, or discarded while others of their key waited for them",
    ),
    (
        "postroom_relay_requeued_total",
        "Messages whose fate was unknown and that are sent again",
    ),
    ("postroom_relay_parked_total", "Messages parked, by reason"),
    ("postroom_relay_checkpoints_total", "Checkpoints recorded"),
    (
        "postroom_relay_gate_commits_total",
        "Frames that waited for a commit to be durable",
    ),
    ("postroom_relay_frame_rows", "Rows of a frame"),
    (
        "postroom_relay_confirm_seconds",
        "From issuing a batch to its last confirm",
    ),
    ("postroom_relay_window_rows", "Messages in memory"),
    (
        "postroom_relay_held_keys",
        "Keys that parked messages hold back",
    ),
    (
        "postroom_relay_lag_seconds",
        "Age of the oldest message in memory that waits for a queue, from when it was due; 0 if none waits, parked ones aside",
    ),
    (
        "postroom_relay_parked_rows",
        "Messages that are parked, by reason; counted every half minute, more seldom if that takes long, not at all if it takes seconds",
    ),
    (
        "postroom_relay_delay_seconds",
        "Age of a batch's oldest message that a queue took, from when it was due, at its confirm",
    ),
    (
        "postroom_relay_timeline_changes_total",
        "Promotions noticed",
    ),
    ("postroom_relay_rotations_total", "Segments begun"),
    ("postroom_relay_expired_segments_total", "Segments emptied"),
    (
        "postroom_relay_ring_full_total",
        "Rotations refused because no leaf was free",
    ),
    (
        "postroom_relay_upkeep_refused_total",
        "Times that the server refused what begins and empties segments",
    ),
];

/// Metrics with quantiles.
const SUMMARIES: [&str; 3] = [
    "postroom_relay_frame_rows",
    "postroom_relay_confirm_seconds",
    "postroom_relay_delay_seconds",
];

/// Describes all metrics to the recorder and sets them to zero, so that the first event appears as an
/// increase.
pub(crate) fn register() {
    for &(name, meaning) in METRICS {
        let by_reason = Reason::ALL.map(|reason| [("reason", reason.as_str())]);
        if name == "postroom_relay_parked_total" {
            describe_counter!(name, meaning);
            for labels in &by_reason {
                counter!(name, labels).increment(0);
            }
        } else if name == "postroom_relay_parked_rows" {
            describe_gauge!(name, meaning);
            for labels in &by_reason {
                gauge!(name, labels).set(0.0);
            }
        } else if name.ends_with("_total") {
            describe_counter!(name, meaning);
            counter!(name).increment(0);
        } else if SUMMARIES.contains(&name) {
            describe_histogram!(name, meaning);
        } else {
            describe_gauge!(name, meaning);
            gauge!(name).set(0.0);
        }
    }
}
