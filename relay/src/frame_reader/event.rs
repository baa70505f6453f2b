//! Events of the frame reader.

use crate::{
    capture::{Frame, Position, Snapshot},
    error::RelayError,
    message::Message,
    publish::{FrameId, Row},
};

/// An event of the reader. Each frame is opened, its rows follow, and it is closed.
#[derive(Debug)]
pub(crate) enum Event<M = Message> {
    Opened(Opened),
    Rows {
        frame: FrameId,
        rows: Vec<Row<M>>,
    },
    Closed {
        frame: FrameId,
    },
    /// Many positions above the floor were handed out, and nothing new is visible there: another
    /// process writes and does not commit. Each poll reads these rows, until a checkpoint raises
    /// the floor.
    EmptyScan {
        upper: Position,
    },
    /// Reading failed; no events follow.
    Lost(RelayError),
}

/// A frame whose rows follow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Opened {
    /// Number of the frame in its session.
    pub id: FrameId,
    /// `true` for the walk to the anchor of a rebase.
    pub walk: bool,
    /// Snapshot at the frame's end.
    pub to: Snapshot,
    /// Highest position that the frame can hold.
    pub upper: Position,
    /// Rows up to here were done by an earlier session.
    pub done: Position,
    /// `true` if a crash can no longer take back what the frame's snapshot sees. Otherwise a commit
    /// must be recorded before any of the rows is published.
    pub durable: bool,
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
