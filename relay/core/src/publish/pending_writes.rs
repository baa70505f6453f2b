//! Writes that wait to be recorded through the lease's connection.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::Hold;
use crate::capture::Position;

/// Reason for which a row is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its delivery time has not come.
    Scheduled,
    /// No queue is bound to its topic.
    Unroutable,
    /// The broker refused it for now, or leaves its topic unanswered while it answers others.
    Nacked,
    /// It can never be published; an operator decides.
    Rejected,
    /// An earlier row of its key is parked.
    Behind,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::Scheduled,
        Self::Unroutable,
        Self::Nacked,
        Self::Rejected,
        Self::Behind,
    ];

    /// Name in the table, in metrics and in output for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Unroutable => "unroutable",
            Self::Nacked => "nacked",
            Self::Rejected => "rejected",
            Self::Behind => "behind",
        }
    }

    /// Returns the reason with a name; `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Time of a parked row's next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At its `deliver_after`.
    AsScheduled,
    /// After this wait.
    In(Duration),
    /// At no time; only when the row before it has gone, or when an operator says so.
    Never,
}

/// A row to copy into `outbox.parked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Park {
    /// Position of the row.
    pub position: Position,
    /// Reason for parking.
    pub reason: Reason,
    /// Rows that must wait behind it.
    pub hold: Hold,
    /// Failed attempts.
    pub attempts: u32,
    /// Time of the next attempt.
    pub due: Due,
    /// Description of the failure, for people.
    pub detail: Option<String>,
}

impl Park {
    /// Returns a row that is parked before its first attempt.
    pub(super) fn first(position: Position, reason: Reason, hold: Hold) -> Self {
        let is_scheduled = reason == Reason::Scheduled;
        Self {
            position,
            reason,
            hold,
            attempts: 0,
            due: if is_scheduled {
                Due::AsScheduled
            } else {
                Due::Never
            },
            detail: None,
        }
    }
}

/// A parked row whose attempt failed again.
pub type Reschedule = Park;

/// Reason for which a row is dropped. The statement that records the drop of a parked row finds out itself if an operator
/// has discarded the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// It expired before it was published.
    Expired,
    /// No queue is bound to its topic, and a policy drops such messages.
    Unroutable,
}

impl DropReason {
    /// Name in `outbox.dropped`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unroutable => "unroutable",
        }
    }
}

/// A row that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dropped {
    /// Position of the row.
    pub position: Position,
    /// Reason for dropping it.
    pub reason: DropReason,
}

/// Everything that one statement on the lease's connection records.
#[derive(Debug, Clone, Default)]
pub struct PendingWrites {
    /// Rows to park.
    pub parks: Vec<Park>,
    /// Parked rows to delete: they are delivered or dropped.
    pub forgets: Vec<Position>,
    /// Parked rows to try again later.
    pub reschedules: Vec<Reschedule>,
    /// Rows of frames that are dropped, all passed by the checkpoint of the same statement.
    pub drops: Vec<Dropped>,
    /// Parked rows that are dropped; all are among `forgets`.
    pub parked_drops: Vec<Dropped>,
    /// Keys with records in this write, each with the position of the recorded row.
    keys: Vec<(Position, Arc<str>)>,
}

impl PendingWrites {
    /// Returns `true` if there is nothing to record.
    pub fn is_empty(&self) -> bool {
        self.parks.is_empty()
            && self.forgets.is_empty()
            && self.reschedules.is_empty()
            && !self.has_drops()
    }

    /// Returns `true` if a drop is to be recorded.
    pub fn has_drops(&self) -> bool {
        !(self.drops.is_empty() && self.parked_drops.is_empty())
    }

    /// Deletes a parked row that is dropped, and records the drop.
    pub(super) fn drop_parked(&mut self, dropped: Dropped) {
        self.forgets.push(dropped.position);
        self.parked_drops.push(dropped);
    }

    pub(super) fn add_key(&mut self, position: Position, key: Arc<str>) {
        self.keys.push((position, key));
    }

    /// Returns the keys with records in this write, each with the position of the recorded row.
    pub(super) fn keys(&self) -> impl Iterator<Item = &(Position, Arc<str>)> {
        self.keys.iter()
    }

    /// Adds the part of another write that concerns these locked rows.
    pub(super) fn add_locked(&mut self, write: &Self, locked: &[Position]) {
        let forgets = write.forgets.iter();
        self.forgets
            .extend(forgets.filter(|position| locked.contains(position)));
        let drops = write.parked_drops.iter();
        self.parked_drops
            .extend(drops.filter(|row| locked.contains(&row.position)));
        let reschedules = write.reschedules.iter();
        let reschedules = reschedules.filter(|row| locked.contains(&row.position));
        self.reschedules.extend(reschedules.cloned());
        let keys = write.keys.iter();
        let keys = keys.filter(|(position, _)| locked.contains(position));
        self.keys.extend(keys.cloned());
    }

    /// Returns the positions of the parked rows that the write deletes or reschedules.
    pub(crate) fn parked_positions(&self) -> HashSet<Position> {
        let rescheduled = self.reschedules.iter().map(|row| row.position);
        self.forgets.iter().copied().chain(rescheduled).collect()
    }
}
