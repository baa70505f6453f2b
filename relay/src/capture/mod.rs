//! Which rows come next: snapshot frames.
//!
//! The relay remembers the last snapshot whose rows are all delivered. It takes a new one and
//! delivers exactly the rows that the new one sees and the old one did not, ordered by position.
//! Nothing is missed however late a transaction commits, and nothing waits for an open one.
//!
//! [`Snapshot`], [`Floors`], [`Frontier`] and [`Frame`] are pure; `reader` does the I/O.

mod floors;
mod frame;
mod frontier;
mod poll;
pub(crate) mod reader;
mod snapshot;
mod timer;

pub use floors::{Floors, Pair};
pub use frame::{Frame, Page};
pub use frontier::{Frontier, Straggler};
pub use poll::PollInterval;
pub use snapshot::{InvalidSnapshot, Snapshot};
pub(crate) use timer::Timer;

/// Position of a row: bits 40 and up number the segment, the lower ones count within it.
pub type Position = i64;

/// Bits of a position below the segment's number.
pub const SEGMENT_BITS: u32 = 40;

/// Number of leaves that the segments take in turn.
pub const RING: i64 = 16;

/// Number of the segment that a position lies in.
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
