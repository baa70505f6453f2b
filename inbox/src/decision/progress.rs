//! The attempts at one delivery, and the next step after each fault.

use std::time::Duration;

use super::{
    Fault, Limits, ParkDecision,
    fault::ErrorClass,
    limits::{Failed, RERUNS},
};
use crate::Reason;

/// Counts of what happened to a delivery since this process began to run it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// State of the delivery, with the attempts up to the last failure.
    failed: Failed,
    /// Attempts before a failed delivery is parked; 0 for a parked delivery, whose attempts the table counts.
    in_place: u32,
    /// Reruns since the last failure.
    reruns: u32,
    /// Retries since the database was last reached.
    outages: u32,
}

/// The next step after a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run the delivery again, after this wait.
    Again(Duration),
    /// Park the delivery.
    Park(ParkDecision),
}

impl Progress {
    /// Begins with a delivery from the queue; `in_order` is `true` if the message has a key.
    pub(crate) fn queued(limits: &Limits, in_order: bool) -> Self {
        let failed = Failed {
            attempts: 0,
            age: Duration::ZERO,
            in_order,
            reason: Reason::Failed,
        };
        Self::new(failed, limits.attempts_in_place.min(limits.max_attempts))
    }

    /// Begins with a claimed row; `failed` counts the coming attempt.
    pub(crate) const fn parked(failed: Failed) -> Self {
        Self::new(failed, 0)
    }

    const fn new(failed: Failed, in_place: u32) -> Self {
        Self {
            failed,
            in_place,
            reruns: 0,
            outages: 0,
        }
    }

    /// Returns the number of the next attempt at a delivery from the queue, from 1.
    pub(crate) const fn attempt(&self) -> u32 {
        self.failed.attempts + 1
    }

    /// Decides the next step after a fault.
    pub(crate) fn next(&mut self, limits: &Limits, fault: Fault) -> Next {
        if let Some(wait) = self.wait_without_failure(limits, fault.class) {
            return Next::Again(wait);
        }
        let class = match fault.class {
            ErrorClass::Rerun => ErrorClass::Failed,
            other => other,
        };
        if self.in_place > 0 {
            self.failed.attempts += 1;
            self.reruns = 0;
            if class == ErrorClass::Failed && self.failed.attempts < self.in_place {
                return Next::Again(limits.in_place.wait(self.failed.attempts));
            }
        }
        Next::Park(limits.decision(class, self.failed, fault.text))
    }

    /// Returns the wait before the next try if the fault counts as no failure.
    ///
    /// The number of reruns is limited: a message that breaks the connection each time must not run for ever.
    fn wait_without_failure(&mut self, limits: &Limits, class: ErrorClass) -> Option<Duration> {
        match class {
            ErrorClass::Unavailable => {
                self.outages += 1;
                Some(limits.outage.wait(self.outages))
            }
            ErrorClass::Rerun if self.reruns < RERUNS => {
                self.outages = 0;
                self.reruns += 1;
                Some(limits.conflict.wait(self.reruns))
            }
            _ => {
                self.outages = 0;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorClass, Fault, Limits, Next, Progress, RERUNS};
    use crate::Reason;

    fn fault(class: ErrorClass) -> Fault {
        Fault {
            class,
            text: "why".into(),
        }
    }

    #[test]
    fn a_failing_delivery_is_retried_at_once_and_then_parked() {
        let limits = Limits::default();
        let mut progress = Progress::queued(&limits, true);
        for attempt in 1..3 {
            assert_eq!(progress.attempt(), attempt);
            let next = progress.next(&limits, fault(ErrorClass::Failed));
            assert!(matches!(next, Next::Again(_)));
        }
        let Next::Park(decision) = progress.next(&limits, fault(ErrorClass::Failed)) else {
            panic!("not parked");
        };
        assert_eq!((decision.reason, decision.attempts), (Reason::Failed, 3));
        assert!(decision.holds_key && !decision.is_dead());
    }

    #[test]
    fn an_outage_never_parks() {
        let limits = Limits::default();
        let mut progress = Progress::queued(&limits, true);
        for _ in 0..1_000 {
            let next = progress.next(&limits, fault(ErrorClass::Unavailable));
            assert!(matches!(next, Next::Again(_)));
        }
        assert_eq!(progress.attempt(), 1);
    }

    #[test]
    fn reruns_count_as_a_failure_once_there_are_too_many() {
        let limits = Limits::default();
        let mut progress = Progress::queued(&limits, true);
        for _ in 0..RERUNS {
            let next = progress.next(&limits, fault(ErrorClass::Rerun));
            assert!(matches!(next, Next::Again(_)));
            assert_eq!(progress.attempt(), 1);
        }
        progress.next(&limits, fault(ErrorClass::Rerun));
        assert_eq!(progress.attempt(), 2);
    }

    #[test]
    fn a_message_that_can_never_be_handled_is_not_retried() {
        let limits = Limits::default();
        let mut progress = Progress::queued(&limits, false);
        let class = ErrorClass::Permanent(Reason::Undecodable);
        let next = progress.next(&limits, fault(class));
        let Next::Park(decision) = next else {
            panic!("not parked");
        };
        assert!(decision.is_dead() && !decision.holds_key);
    }
}
