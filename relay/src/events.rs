//! What happens, each fact once: its log line and its metric together.
//!
//! Every metric is listed in `docs/operations.md`; a test holds the two against each other.

use std::{collections::BTreeSet, time::Duration};

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tracing::{debug, error, info, warn};

use crate::publish::{Reason, Settled};

/// Names of all metrics, with what they mean.
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
        "Messages dropped by configuration: expired, or unroutable and listed",
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
        "postroom_relay_delay_seconds",
        "Age of a batch's oldest message when the batch was confirmed",
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
];

/// Tells the metrics' recorder what they mean.
pub(crate) fn describe() {
    for &(name, meaning) in METRICS {
        if name.ends_with("_total") {
            describe_counter!(name, meaning);
        } else if name.ends_with("_seconds") || name.ends_with("_rows") && name.contains("frame") {
            describe_histogram!(name, meaning);
        } else {
            describe_gauge!(name, meaning);
        }
    }
}

/// The relay holds the lease.
#[derive(Debug)]
pub(crate) struct BecameActive {
    pub(crate) lane: i16,
}

impl BecameActive {
    pub(crate) fn emit(&self) {
        gauge!("postroom_relay_active").set(1.0);
        info!(lane = self.lane, "active: this relay holds the lease");
    }
}

/// Another relay holds the lease.
#[derive(Debug)]
pub(crate) struct StandingBy {
    pub(crate) lane: i16,
}

impl StandingBy {
    pub(crate) fn emit(&self) {
        gauge!("postroom_relay_active").set(0.0);
        info!(
            lane = self.lane,
            "standing by: another relay holds the lease"
        );
    }
}

/// The session ended.
#[derive(Debug)]
pub(crate) struct SessionLost<'a> {
    pub(crate) error: &'a crate::RelayError,
    pub(crate) retry_in: Duration,
}

impl SessionLost<'_> {
    pub(crate) fn emit(&self) {
        gauge!("postroom_relay_active").set(0.0);
        counter!("postroom_relay_sessions_lost_total").increment(1);
        let error = crate::error::chain(self.error);
        warn!(retry_in = ?self.retry_in, "database: {error}");
    }
}

/// A standby was promoted since the last checkpoint.
#[derive(Debug)]
pub(crate) struct Promoted {
    pub(crate) from: i32,
    pub(crate) to: i32,
}

impl Promoted {
    pub(crate) fn emit(&self) {
        counter!("postroom_relay_timeline_changes_total").increment(1);
        warn!(
            from = self.from,
            to = self.to,
            "the database was promoted to a new timeline; an asynchronous standby may lack \
             transactions whose messages were published"
        );
    }
}

/// State of the connection to the broker.
#[derive(Debug)]
pub(crate) struct BrokerState<'a> {
    pub(crate) state: &'a crate::broker::State,
}

impl BrokerState<'_> {
    pub(crate) fn emit(&self) {
        use crate::broker::State;
        let number = match self.state {
            State::Disconnected { .. } => 0.0,
            State::Connecting => 1.0,
            State::Ready => 2.0,
            State::Blocked { .. } => 3.0,
            State::Unconfirmed => 4.0,
        };
        gauge!("postroom_relay_broker_state").set(number);
        match self.state {
            State::Disconnected { reason, retry_in } => {
                counter!("postroom_relay_broker_losses_total").increment(1);
                warn!(?retry_in, "broker: {reason}");
            }
            State::Connecting => debug!("broker: connecting"),
            State::Ready => info!("broker: ready"),
            State::Blocked { reason } => warn!(%reason, "broker: blocked"),
            State::Unconfirmed => {
                warn!("broker: connected, but it confirms nothing yet; has the queue a majority?");
            }
        }
    }
}

/// The broker left a batch without its confirms, and confirmed others meanwhile.
#[derive(Debug)]
pub(crate) struct Unconfirmed<'a> {
    pub(crate) after: Duration,
    pub(crate) topics: BTreeSet<&'a str>,
}

impl Unconfirmed<'_> {
    pub(crate) fn emit(&self) {
        let Self { after, topics } = self;
        warn!(
            ?topics,
            "no confirm within {after:?} for messages of these topics, but for others; has their queue a majority?"
        );
    }
}

/// Messages were settled: how many in each way.
#[derive(Debug)]
pub(crate) struct MessagesSettled(Vec<(Settled, u64)>);

impl FromIterator<Settled> for MessagesSettled {
    fn from_iter<I: IntoIterator<Item = Settled>>(messages: I) -> Self {
        let mut counts: Vec<(Settled, u64)> = Vec::new();
        for settled in messages {
            match counts.iter_mut().find(|(known, _)| *known == settled) {
                Some((_, count)) => *count += 1,
                None => counts.push((settled, 1)),
            }
        }
        Self(counts)
    }
}

impl MessagesSettled {
    pub(crate) fn emit(&self) {
        for &(settled, count) in &self.0 {
            match settled {
                Settled::Delivered => counter!("postroom_relay_delivered_total").increment(count),
                Settled::Dropped => counter!("postroom_relay_dropped_total").increment(count),
                Settled::Requeued => counter!("postroom_relay_requeued_total").increment(count),
                Settled::Parked(reason) => {
                    let reason_name = reason.as_str();
                    counter!("postroom_relay_parked_total", "reason" => reason_name)
                        .increment(count);
                    if reason == Reason::Rejected {
                        error!(
                            count,
                            "messages can never be published and are parked; see `relay parked list`"
                        );
                    }
                }
            }
        }
    }
}

/// A batch came back.
#[derive(Debug)]
pub(crate) struct BatchConfirmed {
    pub(crate) took: Duration,
    pub(crate) delay: Duration,
}

impl BatchConfirmed {
    pub(crate) fn emit(&self) {
        histogram!("postroom_relay_confirm_seconds").record(self.took.as_secs_f64());
        histogram!("postroom_relay_delay_seconds").record(self.delay.as_secs_f64());
    }
}

/// The window and what is held back.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) rows: usize,
    pub(crate) held_keys: usize,
}

impl Window {
    pub(crate) fn emit(&self) {
        gauge!("postroom_relay_window_rows").set(self.rows as f64);
        gauge!("postroom_relay_held_keys").set(self.held_keys as f64);
    }
}

/// A checkpoint is durable.
#[derive(Debug)]
pub(crate) struct Checkpointed;

impl Checkpointed {
    pub(crate) fn emit(self) {
        counter!("postroom_relay_checkpoints_total").increment(1);
    }
}

/// A frame had to wait for a commit.
#[derive(Debug)]
pub(crate) struct GateCommit;

impl GateCommit {
    pub(crate) fn emit(self) {
        counter!("postroom_relay_gate_commits_total").increment(1);
    }
}

/// A frame was read to its end.
#[derive(Debug)]
pub(crate) struct FrameRead {
    pub(crate) rows: usize,
}

impl FrameRead {
    pub(crate) fn emit(&self) {
        histogram!("postroom_relay_frame_rows").record(self.rows as f64);
    }
}

/// A new segment was begun.
#[derive(Debug)]
pub(crate) struct Rotated {
    pub(crate) segment: i64,
}

impl Rotated {
    pub(crate) fn emit(&self) {
        counter!("postroom_relay_rotations_total").increment(1);
        info!(
            segment = self.segment,
            "rotated: new messages go to the next segment"
        );
    }
}

/// A segment was emptied.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) segment: i64,
}

impl Expired {
    pub(crate) fn emit(&self) {
        counter!("postroom_relay_expired_segments_total").increment(1);
        info!(
            segment = self.segment,
            "expired: its messages were delivered and past their retention"
        );
    }
}

/// No leaf is free to rotate into.
#[derive(Debug)]
pub(crate) struct RingFull {
    pub(crate) segment: i64,
}

impl RingFull {
    pub(crate) fn emit(&self) {
        counter!("postroom_relay_ring_full_total").increment(1);
        warn!(
            segment = self.segment,
            "no leaf is free: all sixteen hold messages that are undelivered or within their \
             retention; nothing breaks, but nothing can be expired; look for an old open or \
             prepared transaction, or shorten retention.keep"
        );
    }
}
