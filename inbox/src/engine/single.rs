//! A single attempt at a delivery, without a queue.

use tracing::Instrument as _;

use super::Engine;
use crate::{
    Delivery, Outcome, Reason,
    decision::{ErrorClass, Fault, ParkDecision},
    handler::{HandlerError, HandlerFailure},
    transaction::WorkerConnection,
};

/// Error of a single attempt: the message was not handled, and nothing was written.
///
/// The text is the one that `inbox.parked` would show.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct AttemptError {
    reason: Option<Reason>,
    is_final: bool,
    text: String,
}

impl AttemptError {
    /// Returns the reason for which the consumer would park the message, if further attempts ended in the same way.
    /// `None` if the message is not the cause: the database could not be used, or the transaction conflicted with
    /// another one.
    pub const fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Returns `true` if the consumer would make no further attempt: the message would be parked at once, dead or until
    /// a process knows its type or version.
    pub const fn is_final(&self) -> bool {
        self.is_final
    }
}

impl From<ParkDecision> for AttemptError {
    fn from(decision: ParkDecision) -> Self {
        let reason = decision.reason;
        Self {
            reason: Some(reason),
            is_final: true,
            text: decision.error.unwrap_or_else(|| reason.to_string()),
        }
    }
}

impl From<Fault> for AttemptError {
    fn from(fault: Fault) -> Self {
        let (reason, is_final) = match fault.class {
            ErrorClass::Unavailable | ErrorClass::Rerun => (None, false),
            ErrorClass::Failed => (Some(Reason::Failed), false),
            ErrorClass::Ended => (Some(Reason::Failed), true),
            ErrorClass::Deferred(_) => (Some(Reason::Deferred), false),
            ErrorClass::Early(_) => (Some(Reason::Future), false),
            ErrorClass::Permanent(reason) => (Some(reason), true),
        };
        Self {
            reason,
            is_final,
            text: fault.text,
        }
    }
}

impl Engine {
    /// Runs a delivery once, as a delivery from the queue, and parks nothing if that fails.
    pub(crate) async fn run_once(&self, delivery: &Delivery) -> Result<Outcome, AttemptError> {
        self.check_without_attempt(delivery)?;
        let mut connection = WorkerConnection::default();
        let attempt = self.attempt(delivery, &mut connection);
        Ok(attempt.instrument(self.span(delivery)).await?)
    }

    /// Decodes a delivery's body as its handler's event, and calls no handler.
    pub(crate) fn read(&self, delivery: &Delivery) -> Result<(), AttemptError> {
        self.check_without_attempt(delivery)?;
        self.router
            .read(delivery)
            .map_err(|error| self.unread(error))
    }

    fn check_without_attempt(&self, delivery: &Delivery) -> Result<(), AttemptError> {
        let decision = self.refusal(delivery);
        let decision = decision.or_else(|| self.park_without_attempt(delivery));
        decision.map_or(Ok(()), |decision| Err(decision.into()))
    }

    fn unread(&self, error: HandlerError) -> AttemptError {
        let failure = HandlerFailure::new(error, &self.settings.fates);
        Fault::of(&failure.into()).into()
    }
}
