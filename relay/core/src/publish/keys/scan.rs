//! Retry scans: the parked rows of a key are read again, in order.
//!
//! A *scan* reads the key's parked rows from the lowest position on and tries each. The scan ends
//! at the first row that fails and holds the whole key, or when no row is left; rows of a topic
//! that proved unroutable are skipped. The rows that remain parked are those for which the key
//! still waits. The machine relies on the table alone, never on a count, because operators delete
//! and revive rows beside the relay.

use std::sync::Arc;

use super::holds::{Hold, Topics};
use crate::{
    capture::Position,
    publish::{Reason, Row},
};

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
enum State {
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

/// A retry scan of a key, and its findings so far.
#[derive(Debug, Default)]
pub(super) struct RetryScan {
    state: State,
    /// `true` once a row that holds the whole key has failed: no row behind it may be tried.
    stopped: bool,
    /// Topics that proved unroutable.
    failed_topics: Topics,
    /// `true` if rows of the key were parked since the scan began: the scan must start again.
    parked_since: bool,
    /// `true` if a skipped row expired. It may be the row that failed, so only another scan can
    /// tell what is still held.
    must_repeat: bool,
}

/// Step that follows once the rows of a page have been tried.
#[derive(Debug)]
pub(super) enum After {
    /// Nothing: no page was being tried.
    Nothing,
    /// A page is wanted.
    Page,
    /// The scan has ended. The key still waits for these topics, or for a row that failed and holds
    /// the whole key if `None`.
    End(Option<Topics>),
}

impl RetryScan {
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Starts a scan, unless one is in progress. Returns `true` if a page is wanted now.
    pub(super) fn start(&mut self) -> bool {
        let starts = self.is_idle();
        if starts {
            *self = Self {
                state: State::Wanted { after: 0 },
                ..Self::default()
            };
        }
        starts
    }

    pub(super) const fn wants_page(&self) -> bool {
        matches!(self.state, State::Wanted { .. })
    }

    /// Requests the page that is wanted.
    pub(super) fn request(&mut self, key: &Arc<str>) -> Option<KeyRequest> {
        let State::Wanted { after } = self.state else {
            return None;
        };
        if after == 0 {
            // All rows parked so far are written, so the scan reads them.
            self.parked_since = false;
        }
        self.state = State::Loading;
        Some(KeyRequest {
            key: Arc::clone(key),
            after,
            without: self.failed_topics.to_vec(),
        })
    }

    /// Records that a page has been taken.
    pub(super) const fn taken(&mut self, last: Position, more: bool) {
        self.state = State::Trying { last, more };
    }

    /// Returns `true` if rows of the topic are not tried, because a row before them failed.
    pub(super) fn skips(&self, topic: &Arc<str>) -> bool {
        self.stopped || self.failed_topics.contains(topic)
    }

    /// Records that a row of the page has expired.
    pub(super) fn expired(&mut self, topic: &Arc<str>) {
        self.must_repeat |= self.skips(topic);
    }

    /// Records that a row of the key was parked, or failed again.
    pub(super) fn parked(&mut self, topic: &Arc<str>, reason: Reason, hold: Hold) {
        match (reason, hold) {
            (Reason::Behind, Hold::Topic) if self.failed_topics.contains(topic) => {}
            (Reason::Behind, _) => self.parked_since = true,
            // A row failed, from a frame or parked before: a scan in progress must not try it again
            // before it is due.
            (_, Hold::Key) => self.stopped = true,
            _ => self.failed_topics.insert(topic),
        }
    }

    /// Continues the scan once all rows of its page have been tried.
    pub(super) fn step(&mut self) -> After {
        let State::Trying { last, more } = self.state else {
            return After::Nothing;
        };
        // From the lowest position again: late commits may lie below the rows already read.
        let after = if more { last } else { 0 };
        if !self.stopped && (more || self.parked_since) {
            self.state = State::Wanted { after };
            return After::Page;
        }
        let ended = std::mem::take(self);
        if ended.must_repeat {
            self.start();
        }
        After::End((!ended.stopped).then_some(ended.failed_topics))
    }
}
