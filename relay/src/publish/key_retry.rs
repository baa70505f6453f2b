//! Retry scans: the parked rows of a key are read again, in order.
//!
//! A *scan* reads the key's parked rows from the lowest position on and tries each. The scan ends
//! at the first row that fails and holds the whole key, or when no row is left; rows of a topic
//! that proved unroutable are skipped. The rows that remain parked are those for which the key
//! still waits. The machine relies on the table alone, never on a count, because operators delete
//! and revive rows beside the relay.

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

/// Request for the parked rows of a key above a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// The key.
    pub key: Arc<str>,
    /// Lower bound: only rows above this position.
    pub after: Position,
    /// Topics that the scan skips. Of their rows, only expired ones are read.
    pub without: Vec<Arc<str>>,
}

/// State of a key's retry scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum KeyRetry {
    /// No scan is in progress.
    #[default]
    Idle,
    /// A page is to be requested, once all pending rows are parked and all records are written.
    Wanted { after: Position },
    /// A page has been requested.
    Loading,
    /// The rows of a page are being tried; `more` is `true` if rows may follow above `last`.
    Trying { last: Position, more: bool },
}

/// Findings of a scan so far.
#[derive(Debug, Default)]
pub(super) struct RetryScan {
    /// `true` once a row that holds the whole key has failed: no row behind it may be tried.
    pub(super) stopped: bool,
    /// Topics that proved unroutable.
    pub(super) failed_topics: Topics,
    /// `true` if rows of the key were parked since the scan began: the scan must start again.
    pub(super) parked_since: bool,
    /// `true` if a skipped row expired. It may be the row that failed, so only another scan can
    /// tell what is still held.
    pub(super) must_repeat: bool,
}

/// Step that follows once the rows of a page have been tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Request rows above a position.
    Load { after: Position },
    /// End the scan.
    End,
}

impl RetryScan {
    /// Returns `true` if rows of the topic are not tried, because a row before them failed.
    pub(super) fn skips(&self, topic: &Arc<str>) -> bool {
        self.stopped || self.failed_topics.contains(topic)
    }

    /// Decides the step that follows a page.
    pub(super) fn next(&self, last: Position, more: bool) -> Next {
        if self.stopped {
            Next::End
        } else if more {
            Next::Load { after: last }
        } else if self.parked_since {
            // From the lowest position again: late commits may lie below the rows already read.
            Next::Load { after: 0 }
        } else {
            Next::End
        }
    }
}
