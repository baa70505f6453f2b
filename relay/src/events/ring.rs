//! Events of the ring of leaves.

use std::error::Error;

use metrics::counter;
use tracing::{info, warn};

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

/// The server refused a statement that rotates or empties the ring's segments.
#[derive(Debug)]
pub(crate) struct UpkeepRefused<'a> {
    pub(crate) error: &'a dyn Error,
}

impl UpkeepRefused<'_> {
    pub(crate) fn emit(&self) {
        counter!("postroom_relay_upkeep_refused_total").increment(1);
        warn!(
            "upkeep of the ring: {}. Messages are delivered all the same, but segments are not begun or \
             not emptied, and the table grows; it is tried again after retention.check_interval",
            self.error
        );
    }
}
