//! Checkpoints, which are the relay's own, on their way to the table.

use relay_core::{
    capture::Position,
    checkpoint::{Checkpoint, Unfinished},
    identity::Identity,
};

/// The one database of the model.
const DATABASE: Identity = Identity {
    system_identifier: 1,
    database_oid: 1,
    timeline: 1,
};

/// Returns the checkpoint before the first message.
pub(crate) fn beginning() -> Checkpoint {
    Checkpoint::beginning(DATABASE)
}

/// Returns `true` if the row is delivered according to the checkpoint.
pub(crate) fn covers(checkpoint: &Checkpoint, xid: u64, position: Position) -> bool {
    let in_frame = |frame: &Unfinished| frame.to.sees(xid) && position <= frame.watermark;
    checkpoint.delivered.sees(xid) || checkpoint.unfinished.as_ref().is_some_and(in_frame)
}

/// A checkpoint being recorded: its transaction has an id and is not committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recording {
    pub(crate) xid: u64,
    pub(crate) checkpoint: Checkpoint,
    /// Position to pair with the id, read before the id was assigned.
    pub(crate) position: Position,
}
