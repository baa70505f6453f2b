//! Commands and events of the task that holds the lease and records.

use crate::{capture::Position, checkpoint::Checkpoint, publish::PendingWrites};

/// A request to the lease task.
#[derive(Debug)]
pub enum Command {
    /// Record a checkpoint and, in the same statement, everything in `write`.
    Record {
        /// The checkpoint.
        checkpoint: Box<Checkpoint>,
        /// Changes of parked rows.
        write: PendingWrites,
    },
    /// Rotate and expire segments.
    Maintain {
        /// Position at or below which every row is delivered or parked.
        settled_below: Position,
    },
}

/// A record is durable. The id of its transaction was assigned after the record was requested.
#[derive(Debug)]
pub struct Recorded {
    /// Id of the transaction.
    pub xid: u64,
    /// The write, which is recorded except for the `locked` rows.
    pub write: PendingWrites,
    /// Parked rows that another transaction had locked.
    pub locked: Vec<Position>,
}
