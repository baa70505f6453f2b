//! What must be written through the lease's connection.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::Hold;
use crate::capture::Position;

/// Why a row is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its time has not come.
    Scheduled,
    /// No queue was bound.
    Unroutable,
    /// The broker refused it for now, or answers others and nothing of its topic.
    Nacked,
    /// It can never go; an operator decides.
    Rejected,
    /// A row before it, of the same key, is parked.
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

    /// Name in the table, in metrics and in what people read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Unroutable => "unroutable",
            Self::Nacked => "nacked",
            Self::Rejected => "rejected",
            Self::Behind => "behind",
        }
    }
}

/// When a parked row is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// At its `deliver_after`.
    AsScheduled,
    /// After this time.
    In(Duration),
    /// When the row before it has gone, or when an operator says so.
    Never,
}

/// A row to be copied into `outbox.parked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Park {
    /// Position of the row.
    pub position: Position,
    /// Why.
    pub reason: Reason,
    /// What waits behind it.
    pub hold: Hold,
    /// Failed attempts.
    pub attempts: u32,
    /// When to try again.
    pub due: Due,
    /// What was wrong, for people.
    pub detail: Option<String>,
}

/// A parked row whose attempt failed again.
pub type Reschedule = Park;

/// Everything that one statement on the lease's connection records.
#[derive(Debug, Clone, Default)]
pub struct PendingWrites {
    /// Rows to park.
    pub parks: Vec<Park>,
    /// Parked rows that are delivered.
    pub forgets: Vec<Position>,
    /// Parked rows to try again later.
    pub reschedules: Vec<Reschedule>,
    /// Keys that wait for it, each with the row that is recorded.
    pub(super) keys: Vec<(Position, Arc<str>)>,
}

impl PendingWrites {
    /// Whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        self.parks.is_empty() && self.forgets.is_empty() && self.reschedules.is_empty()
    }

    /// Adds what another says of these parked rows.
    pub(super) fn again(&mut self, write: &Self, locked: &[Position]) {
        let forgets = write.forgets.iter();
        self.forgets
            .extend(forgets.filter(|position| locked.contains(position)));
        let reschedules = write.reschedules.iter();
        let reschedules = reschedules.filter(|row| locked.contains(&row.position));
        self.reschedules.extend(reschedules.cloned());
        let keys = write.keys.iter();
        let keys = keys.filter(|(position, _)| locked.contains(position));
        self.keys.extend(keys.cloned());
    }

    /// Positions of parked rows that it settles.
    pub(super) fn parked_positions(&self) -> HashSet<Position> {
        let rescheduled = self.reschedules.iter().map(|row| row.position);
        self.forgets.iter().copied().chain(rescheduled).collect()
    }
}
