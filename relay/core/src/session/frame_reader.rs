//! Events of the task that reads frames.

use crate::{
    capture::{Frame, Position, Snapshot},
    publish::{FrameId, Row},
};

/// An event of the reader. Each frame is opened, its rows follow, and it is closed.
#[derive(Debug)]
pub enum Event<M> {
    /// A frame begins.
    Opened(Opened),
    /// Rows of the frame, by position.
    Rows {
        /// Number of the frame.
        frame: FrameId,
        /// The rows.
        rows: Vec<Row<M>>,
    },
    /// The frame has no more rows.
    Closed {
        /// Number of the frame.
        frame: FrameId,
    },
    /// Many positions above the floor were handed out, and nothing new is visible there: another
    /// process writes and does not commit. Each poll reads these rows, until a checkpoint raises
    /// the floor.
    EmptyScan {
        /// Highest position handed out.
        upper: Position,
    },
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
    /// Makes the event of a frame whose rows up to `done` were done by an earlier session.
    pub fn new(id: FrameId, frame: &Frame, done: Position, durable: bool) -> Self {
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
