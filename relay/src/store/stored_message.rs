//! A message as it is stored in the outbox.

use std::time::Instant;

use chrono::{DateTime, Utc};
use relay_core::publish::Outcome;

use super::sql::row_decode::Unreadable;
use crate::transport::Message;

/// A message in the relay's memory, with the columns of its row that are not published.
#[derive(Debug)]
pub(crate) struct StoredMessage {
    /// The message; some fields hold replacement values if the row is unreadable.
    pub(crate) message: Message,
    /// Earliest time of publication; `None` for a message that is not scheduled.
    pub(crate) deliver_after: Option<DateTime<Utc>>,
    /// Time after which the unpublished message is dropped; `None` if it never expires.
    pub(crate) expires: Option<Instant>,
    /// Reason why the row can never be published; `None` if the row is readable.
    pub(crate) unreadable: Option<Unreadable>,
}

impl StoredMessage {
    /// Returns the time at which the message could first be published.
    pub(crate) fn due_at(&self) -> DateTime<Utc> {
        let written = self.message.occurred_at;
        self.deliver_after
            .map_or(written, |after| after.max(written))
    }

    /// Returns the outcome of a message that is not to be published; `None` if it is to be published.
    pub(crate) fn unpublished(&self) -> Option<Outcome> {
        if self.expires.is_some_and(|time| time <= Instant::now()) {
            return Some(Outcome::Expired);
        }
        let unreadable = self.unreadable.as_ref()?;
        Some(Outcome::Rejected(unreadable.to_string()))
    }
}
