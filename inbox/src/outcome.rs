//! What became of a delivery.

use crate::Reason;

/// What became of a delivery whose transaction committed. It may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler ran; its work and the record committed.
    Handled,
    /// It had been handled or parked before; the handler did not run.
    Duplicate,
    /// It was parked, behind an earlier message of its key; the handler did not run.
    Parked(Reason),
    /// A parked delivery that is no longer there, or that somebody else is working on.
    Gone,
}
