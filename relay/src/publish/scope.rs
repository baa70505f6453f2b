//! What of that which is ready may be handed out.

use std::collections::BTreeMap;

use super::key::{Entry, RowOrder};
use crate::capture::Position;

/// A stop that is under way.
#[derive(Debug)]
pub(super) struct WindDown {
    /// The last row that is settled.
    pub(super) settled: Option<RowOrder>,
}

/// What may be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything.
    All,
    /// Rows that stand before this one.
    Before(Option<RowOrder>),
}

impl Scope {
    /// Those of the rows that may be handed out, oldest first.
    pub(super) fn of<M>(
        self,
        ready: &BTreeMap<Position, Entry<M>>,
    ) -> impl Iterator<Item = (&Position, &Entry<M>)> + Clone {
        ready.iter().filter(move |(_, entry)| match self {
            Self::All => true,
            Self::Before(last) => entry.order() < last,
        })
    }
}
