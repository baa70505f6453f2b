//! The events that the engine emits about its deliveries.

use std::time::Duration;

use postroom_message::errors::chain;

use super::Engine;
use crate::{
    Outcome,
    decision::{ErrorClass, Fault, ParkDecision},
    events, server_error,
};

impl Engine {
    pub(crate) fn emit_unavailable(&self, doing: &'static str, error: &sqlx::Error) {
        let consumer = self.consumer();
        let error = match server_error::advice(error) {
            Some(advice) => format!("{}; {advice}", chain(error)),
            None => chain(error),
        };
        self.tracker.database_failed(&error);
        events::DatabaseUnavailable {
            consumer,
            doing,
            error: &error,
        }
        .emit();
    }

    pub(crate) fn emit_dead(&self, decision: &ParkDecision) {
        let (consumer, reason) = (self.consumer(), decision.reason);
        let error = decision.error.as_deref();
        events::Dead {
            consumer,
            reason,
            error,
        }
        .emit();
    }

    pub(super) fn emit_handled(&self, origin: &'static str, took: Duration) {
        let consumer = self.consumer();
        events::Handled {
            consumer,
            origin,
            took,
        }
        .emit();
    }

    pub(crate) fn emit_outcome(&self, outcome: Outcome) {
        let consumer = self.consumer();
        match outcome {
            // The transaction has emitted the event of a duplicate key, whose text no outcome has.
            Outcome::Handled | Outcome::Gone | Outcome::DuplicateKey => {}
            Outcome::Duplicate => events::Duplicate { consumer }.emit(),
            Outcome::Parked(reason) => events::Parked { consumer, reason }.emit(),
        }
    }

    /// Emits the event of a fault, and returns the fault.
    pub(super) fn emit_fault(&self, fault: Fault, attempt: u32) -> Fault {
        let (consumer, error) = (self.consumer(), fault.text.as_str());
        match fault.class {
            ErrorClass::Unavailable => {
                self.tracker.database_failed(error);
                events::DatabaseUnavailable {
                    consumer,
                    doing: "handling a message",
                    error,
                }
                .emit();
            }
            ErrorClass::Rerun => events::Rerun { consumer, error }.emit(),
            ErrorClass::Failed | ErrorClass::Ended => events::AttemptFailed {
                consumer,
                attempt,
                error,
            }
            .emit(),
            // Reported when the delivery is parked.
            ErrorClass::Deferred(_) | ErrorClass::Early(_) | ErrorClass::Permanent(_) => {}
        }
        fault
    }
}
