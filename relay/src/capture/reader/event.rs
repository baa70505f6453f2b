//! What the reader reports.

use crate::{
    capture::{Frame, Position, Snapshot},
    error::RelayError,
    message::Message,
    publish::{FrameId, Row},
};

/// What the reader reports, in order: a frame is opened, its rows follow, it is closed.
#[derive(Debug)]
pub(crate) enum Event {
    Opened(Opened),
    Rows {
        frame: FrameId,
        rows: Vec<Row<Message>>,
    },
    Closed {
        frame: FrameId,
    },
    /// Many positions above the floor were handed out, and nothing new is visible there: somebody
    /// writes and does not commit. Each look reads those rows, until a checkpoint raises the floor.
    EmptyScan {
        upper: Position,
    },
    /// Reading failed; nothing more will come.
    Lost(RelayError),
}

/// A frame that holds rows.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: FrameId,
    /// Whether it is the walk to the anchor of a rebase.
    pub(crate) walk: bool,
    pub(crate) to: Snapshot,
    pub(crate) upper: Position,
    /// Rows up to here were done by an earlier session.
    pub(crate) done: Position,
    /// Whether a crash can no longer take back what the frame's snapshot sees. If not, a commit
    /// must be recorded before any of its rows is published.
    pub(crate) durable: bool,
}

impl Opened {
    pub(super) fn new(id: FrameId, frame: &Frame, done: Position, durable: bool) -> Self {
        Self {
            id,
            walk: frame.is_walk(),
            to: frame.to().clone(),
            upper: frame.upper(),
            done,
            durable,
        }
    }
}
