//! What the engine tells of its deliveries.

use super::Engine;
use crate::{
    Outcome, events,
    handler::chain,
    policy::{Fault, Meaning, Verdict},
    sql,
};

impl Engine {
    pub(crate) fn emit_unavailable(&self, doing: &'static str, error: &sqlx::Error) {
        let consumer = self.consumer();
        let error = match sql::advice(error) {
            Some(advice) => format!("{}; {advice}", chain(error)),
            None => chain(error),
        };
        events::DatabaseUnavailable {
            consumer,
            doing,
            error: &error,
        }
        .emit();
    }

    pub(crate) fn emit_dead(&self, verdict: &Verdict) {
        let (consumer, reason) = (self.consumer(), verdict.reason);
        let error = verdict.error.as_deref();
        events::Dead {
            consumer,
            reason,
            error,
        }
        .emit();
    }

    pub(super) fn emit_outcome(&self, outcome: Outcome) {
        let consumer = self.consumer();
        match outcome {
            Outcome::Handled | Outcome::Gone => {}
            Outcome::Duplicate => events::Duplicate { consumer }.emit(),
            Outcome::Parked(reason) => events::Parked { consumer, reason }.emit(),
        }
    }

    pub(super) fn emit_fault(&self, fault: Fault, attempt: u32) -> Fault {
        let (consumer, error) = (self.consumer(), fault.text.as_str());
        match fault.meaning {
            Meaning::Unavailable => events::DatabaseUnavailable {
                consumer,
                doing: "handling a message",
                error,
            }
            .emit(),
            Meaning::Rerun => events::Rerun { consumer, error }.emit(),
            Meaning::Alone => events::Alone { error }.emit(),
            Meaning::Failed | Meaning::Ended => events::AttemptFailed {
                consumer,
                attempt,
                error,
            }
            .emit(),
            // Reported when they are parked.
            Meaning::Deferred(_) | Meaning::Hopeless(_) => {}
        }
        fault
    }
}
