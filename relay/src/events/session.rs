//! Events of the lease, the database session and its checkpoints.

use std::{error::Error, time::Duration};

use metrics::{counter, gauge};
use tracing::{info, warn};

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
        inactive();
        info!(
            lane = self.lane,
            "standing by: another relay holds the lease"
        );
    }
}

/// A session that is no relay holds the lock of the lease.
#[derive(Debug)]
pub(crate) struct LeaseMisheld<'a> {
    pub(crate) problem: &'a str,
}

impl LeaseMisheld<'_> {
    pub(crate) fn emit(&self) {
        inactive();
        warn!("lease: {}", self.problem);
    }
}

/// Resets the gauges that only an active relay sets: another relay may be active now.
fn inactive() {
    for gauge in [
        "postroom_relay_active",
        "postroom_relay_broker_state",
        "postroom_relay_window_rows",
        "postroom_relay_held_keys",
        "postroom_relay_lag_seconds",
    ] {
        gauge!(gauge).set(0.0);
    }
    super::Parked::default().emit();
}

/// The database session ended.
#[derive(Debug)]
pub(crate) struct SessionLost<'a> {
    pub(crate) error: &'a dyn Error,
    /// `true` if the relay held the lease.
    pub(crate) was_active: bool,
    pub(crate) retry_in: Duration,
}

impl SessionLost<'_> {
    pub(crate) fn emit(&self) {
        inactive();
        if self.was_active {
            counter!("postroom_relay_sessions_lost_total").increment(1);
        }
        let error = postroom_message::errors::chain(self.error);
        warn!(retry_in = ?self.retry_in, "database: {error}");
    }
}

/// The database has not answered the queries of a new session for a while.
#[derive(Debug)]
pub(crate) struct SlowlyPreparing {
    pub(crate) waited: Duration,
}

impl SlowlyPreparing {
    pub(crate) fn emit(&self) {
        warn!(
            waited = ?self.waited,
            "preparing: the database has not answered; who holds locks on tables of the outbox?"
        );
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

/// A checkpoint is durable.
#[derive(Debug)]
pub(crate) struct Checkpointed;

impl Checkpointed {
    pub(crate) fn emit(self) {
        counter!("postroom_relay_checkpoints_total").increment(1);
    }
}
