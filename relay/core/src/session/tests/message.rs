//! Committed messages in the simulated outbox.

use std::sync::Arc;

use crate::{
    capture::Position,
    publish::{Disposition, ParkedRow, Row},
};

/// Effect of a message on the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    None,
    /// The broker closes the channel over it.
    Closes,
    /// The broker refuses the message for good.
    TooLarge,
}

/// Time at which a message may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    Any,
    After(u64),
    Until(u64),
}

#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) position: Position,
    pub(super) key: Option<Arc<str>>,
    pub(super) topic: Arc<str>,
    pub(super) time: Time,
    pub(super) harm: Harm,
}

impl Message {
    pub(super) fn row(&self, now: u64) -> Row<Position> {
        let disposition = match self.time {
            Time::After(at) if at > now => Disposition::Scheduled,
            Time::Until(at) if at <= now => Disposition::Expired,
            _ => Disposition::Due,
        };
        Row {
            position: self.position,
            // Scheduled messages have left their order, however often they are read.
            key: self.key.clone().filter(|_| self.is_ordered()),
            topic: Arc::clone(&self.topic),
            bytes: 1,
            disposition,
            message: self.position,
        }
    }

    /// Returns the row as read from `outbox.parked`.
    pub(super) fn parked(&self, now: u64, attempts: u32, discarded: bool) -> ParkedRow<Position> {
        let mut row = self.row(now);
        if discarded {
            row.disposition = Disposition::Expired;
        } else if row.disposition == Disposition::Scheduled {
            row.disposition = Disposition::Due;
        }
        ParkedRow { row, attempts }
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        matches!(self.time, Time::Until(at) if at <= now)
    }

    /// Returns `true` if guarantee G4 (order) covers the message.
    pub(super) fn is_ordered(&self) -> bool {
        self.key.is_some() && !matches!(self.time, Time::After(_))
    }
}
