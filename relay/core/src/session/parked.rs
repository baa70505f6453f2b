//! Requests for parked rows.

use std::sync::Arc;

use super::parked_reader::Command;
use crate::publish::{Machine, ParkedRow, Settled};

/// Most keys whose parked rows are read at a time. Their rows are taken however little room is
/// left.
const KEYS_AT_ONCE: usize = 4;

/// Number of dropped rows still in the table above which polls no longer follow one another at
/// once: each poll reads all of these rows.
const MAX_DROPPED: usize = 5_000;

/// State of the poll for parked rows that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Poll {
    /// The time of the next poll has not come.
    #[default]
    NotDue,
    /// The poll waits until there is room.
    Due,
    /// The poll is in progress.
    InProgress,
}

/// Requests for parked rows that are in progress.
#[derive(Debug, Default)]
pub(super) struct ParkedRows {
    poll: Poll,
    /// Number of keys whose parked rows are being read.
    reading_keys: usize,
}

impl ParkedRows {
    pub(super) fn poll_due(&mut self) {
        if self.poll == Poll::NotDue {
            self.poll = Poll::Due;
        }
    }

    /// Returns the next request. Rows that are due are of no use while the broker takes no
    /// messages.
    pub(super) fn next<M>(
        &mut self,
        machine: &mut Machine<M>,
        can_publish: bool,
    ) -> Option<Command> {
        if self.poll == Poll::Due && can_publish {
            self.poll = Poll::InProgress;
            let in_progress = machine.parked_in_progress().clone();
            return Some(Command::Poll { in_progress });
        }
        if self.reading_keys == KEYS_AT_ONCE {
            return None;
        }
        let request = machine.next_key_request()?;
        self.reading_keys += 1;
        Some(Command::ReadKey(request))
    }

    /// Takes the answer to a poll; `more` is `true` if more rows are due.
    pub(super) fn due<M>(
        &mut self,
        machine: &mut Machine<M>,
        keys: &[Arc<str>],
        singles: Vec<ParkedRow<M>>,
        more: bool,
    ) -> Vec<Settled> {
        let in_progress = machine.parked_in_progress().len();
        for key in keys {
            machine.retry_key(key);
        }
        let singles = singles.into_iter();
        let settled = singles.filter_map(|single| machine.retry(single)).collect();
        // Rows of an unresponsive topic would only be parked again.
        let found = machine.parked_in_progress().len() > in_progress;
        let few = machine.dropped() < MAX_DROPPED;
        let at_once = more && found && few && !machine.has_unresponsive();
        self.poll = if at_once { Poll::Due } else { Poll::NotDue };
        settled
    }

    /// Records that the rows of a key were read.
    pub(super) const fn read_key(&mut self) {
        self.reading_keys -= 1;
    }
}
