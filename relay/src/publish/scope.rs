//! Limits on the ready rows that may be handed out.

use std::collections::BTreeMap;

use super::key::{Entry, RowOrder};
use crate::capture::Position;

/// A graceful stop in progress.
#[derive(Debug)]
pub(super) struct WindDown {
    /// The last settled row, in outbox order; `None` if no row is settled.
    pub(super) settled: Option<RowOrder>,
}

/// The ready rows that may be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All rows.
    All,
    /// Rows before this one in outbox order; no rows if `None`.
    Before(Option<RowOrder>),
}

impl Scope {
    /// Selects the rows that may be handed out, oldest first.
    pub(super) fn select<M>(
        self,
        ready: &BTreeMap<Position, Entry<M>>,
    ) -> impl Iterator<Item = (&Position, &Entry<M>)> + Clone {
        ready.iter().filter(move |(_, entry)| match self {
            Self::All => true,
            Self::Before(last) => entry.order() < last,
        })
    }
}
