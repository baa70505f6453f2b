//! What becomes of a delivery that was not handled: decisions without I/O.

mod fault;
mod limits;
mod progress;

use std::time::Duration;

pub(crate) use fault::{ErrorClass, Fault};
pub(crate) use limits::{Failed, LONGEST, Limits};
pub(crate) use progress::{Next, Progress};

use crate::Reason;

/// Most attempts that the table is told.
const MOST_COUNTED: i32 = i32::MAX / 2;

/// How a delivery is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParkDecision {
    pub(crate) reason: Reason,
    pub(crate) due: Due,
    /// Attempts so far.
    pub(crate) attempts: u32,
    /// Whether later messages of the key wait behind it.
    pub(crate) holds_key: bool,
    /// Whether its id may stand recorded although nobody has handled it.
    pub(crate) recorded: bool,
    /// Text of the error and of its causes.
    pub(crate) error: Option<String>,
}

/// When a parked delivery is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// After a time.
    In(Duration),
    /// Once the message before it is gone.
    AfterKey,
    /// When an operator says so: it is dead.
    Never,
}

impl ParkDecision {
    /// Parks a message behind an earlier one of its key.
    pub(crate) fn behind(attempts: u32, error: Option<String>) -> Self {
        Self {
            reason: Reason::Behind,
            due: Due::AfterKey,
            attempts,
            holds_key: true,
            recorded: false,
            error,
        }
    }

    /// Parks a message that no handler can take, out of the order of its key.
    pub(crate) const fn hopeless(reason: Reason, error: String) -> Self {
        Self {
            reason,
            due: Due::Never,
            attempts: 0,
            holds_key: false,
            recorded: false,
            error: Some(error),
        }
    }

    /// Returns the attempts as the table counts them, with room for more.
    pub(crate) fn counted(&self) -> i32 {
        i32::try_from(self.attempts).map_or(MOST_COUNTED, |attempts| attempts.min(MOST_COUNTED))
    }

    /// Returns the word that stands for the state in the table.
    pub(crate) const fn state(&self) -> &'static str {
        match self.due {
            Due::In(_) | Due::AfterKey => "waiting",
            Due::Never => "dead",
        }
    }

    pub(crate) const fn due_in(&self) -> Option<Duration> {
        match self.due {
            Due::In(wait) => Some(wait),
            Due::AfterKey | Due::Never => None,
        }
    }

    pub(crate) const fn is_dead(&self) -> bool {
        matches!(self.due, Due::Never)
    }
}
