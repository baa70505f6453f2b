//! Outcomes of published messages, and the machine's decisions about them.

use super::Reason;

/// Timing of a row, by the database's clock when the row was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The row may be sent now.
    Due,
    /// The row is held back until a later time.
    Scheduled,
    /// The row has expired; it is dropped, and counted.
    Expired,
}

/// Outcome of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Confirmed, and routed to at least one queue.
    Confirmed,
    /// Confirmed, but returned: no queue was bound.
    Unroutable,
    /// Refused for now: a queue is full, or could not take the message.
    Nacked,
    /// Not confirmed in time: neither success nor failure. The topic is isolated from now on.
    Overdue,
    /// Can never be published; the text says why.
    Rejected(String),
    /// Expired before it was sent.
    Expired,
    /// Handed out, but never given to the AMQP client: the broker has not judged the message.
    Unsent,
    /// Neither success nor failure: the connection or channel was lost.
    Unknown {
        /// The broker's error text if it closed the channel or connection over a message of the
        /// batch.
        blame: Option<String>,
    },
}

/// The machine's decision about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The message is delivered.
    Delivered,
    /// The message was dropped on purpose: it had expired, an operator discarded it, or a policy
    /// drops unroutable messages of its topic.
    Dropped,
    /// The message is parked.
    Parked(Reason),
    /// The message will be sent again.
    Requeued,
}
