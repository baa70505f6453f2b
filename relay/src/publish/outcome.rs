//! What can become of a message.

use super::Reason;

/// Whether a row may go now, by the database's clock when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It may.
    Due,
    /// It is to be held back until a later time.
    Scheduled,
    /// Its time is over: it is dropped, and counted.
    Expired,
}

/// What the broker made of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Confirmed, and routed to a queue at least.
    Confirmed,
    /// Confirmed, but returned: no queue was bound.
    Unroutable,
    /// Refused for now: a queue is full, or could not take it.
    Nacked,
    /// Its confirm did not come in time. Neither success nor failure; its topic is kept isolated.
    Overdue,
    /// It can never go.
    Rejected(String),
    /// Its time was over before it was sent.
    Expired,
    /// It was handed out, and never given to the client: nobody has judged it.
    Unsent,
    /// Neither success nor failure: the connection or channel is gone.
    Unknown {
        /// The broker's words, if it closed the channel or connection over a message of the batch.
        blame: Option<String>,
    },
}

/// What the machine did with a message upon its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is delivered.
    Delivered,
    /// It was dropped as it was meant to be: it had expired, an operator discarded it, or a policy drops what no
    /// queue takes.
    Dropped,
    /// It is parked.
    Parked(Reason),
    /// It will be sent again.
    Requeued,
}
