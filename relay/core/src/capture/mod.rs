//! Capture: finds the rows to publish next, by comparing snapshots of the database.
//!
//! The relay remembers the last snapshot whose rows are all delivered. It takes a new snapshot and
//! delivers exactly the rows that the new one sees and the old one does not, ordered by position.
//! These rows are a *frame*. No row is missed however late its transaction commits, and no row
//! waits for an open transaction.
//!
//! Everything here is pure; the frame reader of the crate `relay` does the I/O.

mod floors;
mod frame;
mod frontier;
mod poll;
mod snapshot;

pub use floors::{Floors, Pair};
pub use frame::{Frame, Page};
pub use frontier::{Frontier, Straggler};
pub use poll::PollInterval;
pub use snapshot::{InvalidSnapshot, Snapshot};

/// Position of a row: bits 40 and up number the segment, the lower bits count within it.
pub type Position = i64;

/// Bits of a position below the segment's number.
pub const SEGMENT_BITS: u32 = 40;

/// Number of leaves, which the segments use in turn.
pub const RING: i64 = 16;

/// Number of the segment that holds a position.
pub const fn segment_of(position: Position) -> i64 {
    position >> SEGMENT_BITS
}

/// First position of a segment.
pub const fn segment_start(segment: i64) -> Position {
    segment << SEGMENT_BITS
}

/// Last position of a segment.
pub const fn segment_end(segment: i64) -> Position {
    segment_start(segment + 1) - 1
}
