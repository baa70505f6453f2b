//! Commands and events of the task that reads parked rows.

use std::{collections::HashSet, sync::Arc};

use crate::{
    capture::Position,
    publish::{KeyRequest, ParkedRow},
};

/// A request to the task.
#[derive(Debug)]
pub enum Command {
    /// Find rows that are due and not in progress.
    Poll {
        /// Rows in progress.
        in_progress: HashSet<Position>,
    },
    /// Read the parked rows of a key.
    ReadKey(KeyRequest),
}

/// An event of the task.
#[derive(Debug)]
pub enum Event<M> {
    /// Rows that are due: keys to scan, and rows that hold nothing.
    Due {
        /// Keys to scan.
        keys: Vec<Arc<str>>,
        /// Rows that hold nothing.
        singles: Vec<ParkedRow<M>>,
        /// `true` if more rows are due.
        more: bool,
    },
    /// A page of a key's parked rows.
    KeyRows {
        /// The request.
        request: KeyRequest,
        /// The rows, by position.
        rows: Vec<ParkedRow<M>>,
        /// `true` if more rows may follow.
        more: bool,
    },
}
