//! The outcome of a delivery whose transaction committed.

use crate::Reason;

/// The outcome of a delivery whose transaction committed. The delivery may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler ran; its work and the record of the message committed.
    Handled,
    /// The message had been handled or parked before; the handler did not run.
    Duplicate,
    /// Another message with the same idempotency key ([`idempotency_key`](crate::ConsumerBuilder::idempotency_key)) had
    /// been handled; the handler did not run, and the message's own id is recorded.
    DuplicateKey,
    /// The message was parked behind an earlier message of its key; the handler did not run.
    Parked(Reason),
    /// The row of a parked delivery no longer exists, another worker has claimed it, or a copy of its
    /// message had been handled; the handler did not run.
    Gone,
}
