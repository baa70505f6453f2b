//! Fetching the parked rows of a key, in order.
//!
//! A *pass* reads the key's parked rows from the lowest position on and tries each. It ends at the
//! first row that holds the whole key and fails, or when no row is left; rows of a topic that
//! proved unroutable are skipped. What the pass leaves is what the key still waits for. Only the
//! table is believed, never a count: operators delete and revive rows beside the relay.

use std::sync::Arc;

use super::{Row, topics::Topics};
use crate::capture::Position;

/// A row of `outbox.parked`.
#[derive(Debug, Clone)]
pub struct ParkedRow<M> {
    /// The row.
    pub row: Row<M>,
    /// Failed attempts so far.
    pub attempts: u32,
}

/// Asks for the parked rows of a key above a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// The key.
    pub key: Arc<str>,
    /// Only rows above this position.
    pub after: Position,
    /// No rows of these topics, which would not be tried; but those that have expired.
    pub without: Vec<Arc<str>>,
}

/// Where a key's drain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum KeyRetry {
    /// No pass is under way.
    #[default]
    Idle,
    /// A page is wanted, once all rows behind others are parked and all records are written.
    Wanted { after: Position },
    /// A page has been asked for.
    Loading,
    /// The rows of a page are being tried; `more` if rows may follow above `last`.
    Feeding { last: Position, more: bool },
}

/// What a pass has found so far.
#[derive(Debug, Default)]
pub(super) struct RetryScan {
    /// A row that holds the whole key failed: nothing behind it may be tried.
    pub(super) stopped: bool,
    /// Topics that proved unroutable.
    pub(super) failed_topics: Topics,
    /// Rows of the key were parked since the pass began: it must look again.
    pub(super) parked_since: bool,
    /// A row expired that may be the one that failed: another pass must tell what still holds.
    pub(super) must_repeat: bool,
}

/// What to do once the rows of a page have been tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for more rows above a position.
    Load { after: Position },
    /// The pass is over.
    End,
}

impl RetryScan {
    /// Whether a row of a topic is not to be tried, since one before it failed.
    pub(super) fn skips(&self, topic: &Arc<str>) -> bool {
        self.stopped || self.failed_topics.contains(topic)
    }

    /// Decides what follows a page.
    pub(super) fn next(&self, last: Position, more: bool) -> Next {
        if self.stopped {
            Next::End
        } else if more {
            Next::Load { after: last }
        } else if self.parked_since {
            // From the lowest position again: late commits may lie below what was read.
            Next::Load { after: 0 }
        } else {
            Next::End
        }
    }
}
