//! Events of messages, from their frame to their settlement.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::{counter, gauge, histogram};
use relay_core::publish::{Reason, Settled};
use tracing::error;

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

/// A frame had to wait for a durable commit.
#[derive(Debug)]
pub(crate) struct GateCommit;

impl GateCommit {
    pub(crate) fn emit(self) {
        counter!("postroom_relay_gate_commits_total").increment(1);
    }
}

/// Current size of the window, and number of held keys.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) rows: usize,
    pub(crate) held_keys: usize,
    /// Time when the oldest message in memory that waits for a queue was due; `None` if none waits.
    pub(crate) oldest: Option<DateTime<Utc>>,
}

impl Window {
    pub(crate) fn emit(&self) {
        gauge!("postroom_relay_window_rows").set(self.rows as f64);
        gauge!("postroom_relay_held_keys").set(self.held_keys as f64);
        // This machine's clock may be behind the database's.
        let lag = self
            .oldest
            .map_or(TimeDelta::zero(), |oldest| Utc::now() - oldest);
        gauge!("postroom_relay_lag_seconds").set(lag.to_std().unwrap_or_default().as_secs_f64());
    }
}

/// All parked messages were counted.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// Number of parked messages by the name of their reason.
    pub(crate) counts: HashMap<String, i64>,
}

impl Parked {
    pub(crate) fn emit(&self) {
        for reason in Reason::ALL.map(Reason::as_str) {
            let count = self.counts.get(reason).copied().unwrap_or(0);
            gauge!("postroom_relay_parked_rows", "reason" => reason).set(count as f64);
        }
    }
}

/// Messages were settled; the number for each kind of settlement.
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
