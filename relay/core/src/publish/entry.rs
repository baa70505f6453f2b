//! A row in memory.

use std::{ops::Deref, sync::Arc};

use super::{FrameId, Row};
use crate::capture::Position;

/// Order of a row in the outbox: frame, then position.
pub(super) type RowOrder = (FrameId, Position);

/// Source of a row in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A frame.
    Frame(FrameId),
    /// `outbox.parked`, after this many failed attempts.
    Parked { attempts: u32 },
}

/// A row in memory.
#[derive(Debug)]
pub(super) struct Entry<M> {
    row: Arc<Row<M>>,
    origin: Origin,
}

impl<M> Deref for Entry<M> {
    type Target = Row<M>;

    fn deref(&self) -> &Row<M> {
        &self.row
    }
}

impl<M> Entry<M> {
    pub(super) fn new(row: Row<M>, origin: Origin) -> Self {
        let row = Arc::new(row);
        Self { row, origin }
    }

    pub(super) const fn row(&self) -> &Arc<Row<M>> {
        &self.row
    }

    pub(super) const fn origin(&self) -> Origin {
        self.origin
    }

    pub(super) const fn was_parked(&self) -> bool {
        matches!(self.origin, Origin::Parked { .. })
    }

    /// Order of the row in the outbox; `None` if the row was parked.
    pub(super) fn order(&self) -> Option<RowOrder> {
        match self.origin {
            Origin::Frame(frame) => Some((frame, self.row.position)),
            Origin::Parked { .. } => None,
        }
    }

    /// Number of the attempt in progress.
    pub(super) const fn attempt(&self) -> u32 {
        match self.origin {
            Origin::Frame(_) => 1,
            Origin::Parked { attempts } => attempts + 1,
        }
    }
}
