//! Decisions about a delivery that was not handled: run it again, or park it. Without I/O.

mod fault;
mod limits;
mod progress;
mod trust;

use std::time::Duration;

pub(crate) use fault::{ErrorClass, Fault};
pub(crate) use limits::{Failed, LONGEST, Limits};
pub(crate) use progress::{Next, Progress};
pub(crate) use trust::Trust;

use crate::Reason;

/// Longest error text in bytes that is stored; a longer one is truncated.
const ERROR_BYTES: usize = 8 * 1024;

/// Largest number of attempts that is written to the table.
const MOST_COUNTED: i32 = i32::MAX / 2;

/// The decision how to park a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParkDecision {
    pub(crate) reason: Reason,
    pub(crate) due: Due,
    /// Attempts so far.
    pub(crate) attempts: u32,
    /// `true` if later messages of the key wait behind the delivery.
    pub(crate) holds_key: bool,
    /// `true` if the id may already be recorded although the message was not handled, since the handler
    /// committed the transaction itself.
    pub(crate) recorded: bool,
    /// Text of the error and of its sources.
    pub(crate) error: Option<String>,
}

/// The time of a parked delivery's next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// After this wait.
    In(Duration),
    /// Once no earlier message holds the key.
    AfterKey,
    /// Once a process knows the version of the body.
    OnceKnown,
    /// Never, unless an operator retries it: the delivery is dead.
    Never,
}

impl ParkDecision {
    /// Creates the decision to park a message behind an earlier one of its key.
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

    /// Creates the decision to park a message dead, without holding its key.
    pub(crate) fn dead(reason: Reason, error: String) -> Self {
        Self {
            reason,
            due: Due::Never,
            attempts: 0,
            holds_key: false,
            recorded: false,
            error: Some(clip(error)),
        }
    }

    /// Returns the attempts for the table, capped so that further ones can be added.
    pub(crate) fn counted(&self) -> i32 {
        i32::try_from(self.attempts).map_or(MOST_COUNTED, |attempts| attempts.min(MOST_COUNTED))
    }

    /// Returns the state's name in the table: `waiting` or `dead`.
    pub(crate) const fn state(&self) -> &'static str {
        match self.due {
            Due::In(_) | Due::AfterKey | Due::OnceKnown => "waiting",
            Due::Never => "dead",
        }
    }

    /// Returns the wait before the next attempt; `None` if the row is not due by time.
    pub(crate) const fn due_in(&self) -> Option<Duration> {
        match self.due {
            Due::In(wait) => Some(wait),
            Due::AfterKey | Due::OnceKnown | Due::Never => None,
        }
    }

    pub(crate) const fn is_dead(&self) -> bool {
        matches!(self.due, Due::Never)
    }
}

/// Truncates a text to [`ERROR_BYTES`] and replaces NUL, which PostgreSQL cannot store.
fn clip(mut text: String) -> String {
    if text.len() > ERROR_BYTES {
        text.truncate(text.floor_char_boundary(ERROR_BYTES));
        text.push('…');
    }
    if text.contains('\0') {
        text = text.replace('\0', "\u{FFFD}");
    }
    text
}
