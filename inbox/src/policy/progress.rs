//! The attempts at one delivery, and the next step after each fault.

use std::time::Duration;

use super::{
    Fault, Limits, ParkDecision,
    fault::ErrorClass,
    limits::{Failed, RERUNS},
};
use crate::Reason;

/// Counts of what happened to a delivery since this process began to run it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    failures: u32,
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
    /// Returns the number of the next attempt, from 1.
    pub(crate) const fn attempt(&self) -> u32 {
        self.failures + 1
    }

    /// Decides the next step after a fault of a delivery from the queue.
    pub(crate) fn next(&mut self, limits: &Limits, fault: Fault, keyed: bool) -> Next {
        if let Some(wait) = self.wait_without_failure(limits, fault.class) {
            return Next::Again(wait);
        }
        let class = match fault.class {
            ErrorClass::Rerun | ErrorClass::Alone => ErrorClass::Failed,
            other => other,
        };
        self.failures += 1;
        self.reruns = 0;
        let in_place = limits.attempts_in_place.min(limits.max_attempts);
        if class == ErrorClass::Failed && self.failures < in_place {
            return Next::Again(limits.in_place.wait(self.failures));
        }
        let failed = Failed {
            attempts: self.failures,
            age: Duration::ZERO,
            in_order: keyed,
            reason: Reason::Failed,
        };
        Next::Park(limits.decision(class, failed, fault.text))
    }

    /// Decides the next step after a fault of a parked delivery, whose attempts the table counts.
    pub(crate) fn next_parked(&mut self, limits: &Limits, fault: Fault, failed: Failed) -> Next {
        if let Some(wait) = self.wait_without_failure(limits, fault.class) {
            return Next::Again(wait);
        }
        let class = match fault.class {
            ErrorClass::Rerun | ErrorClass::Alone => ErrorClass::Failed,
            other => other,
        };
        Next::Park(limits.decision(class, failed, fault.text))
    }

    /// Returns the wait before the next try if the fault counts as no failure.
    ///
    /// The number of reruns is limited: a message that breaks the connection each time must not run for ever,
    /// nor one that a layer keeps sending to a shared transaction that has ended.
    fn wait_without_failure(&mut self, limits: &Limits, class: ErrorClass) -> Option<Duration> {
        match class {
            ErrorClass::Unavailable => {
                self.outages += 1;
                Some(limits.outage.wait(self.outages))
            }
            ErrorClass::Rerun | ErrorClass::Alone if self.reruns < RERUNS => {
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
        let mut progress = Progress::default();
        for attempt in 1..3 {
            assert_eq!(progress.attempt(), attempt);
            let next = progress.next(&limits, fault(ErrorClass::Failed), true);
            assert!(matches!(next, Next::Again(_)));
        }
        let Next::Park(decision) = progress.next(&limits, fault(ErrorClass::Failed), true) else {
            panic!("not parked");
        };
        assert_eq!((decision.reason, decision.attempts), (Reason::Failed, 3));
        assert!(decision.holds_key && !decision.is_dead());
    }

    #[test]
    fn an_outage_never_parks() {
        let limits = Limits::default();
        let mut progress = Progress::default();
        for _ in 0..1_000 {
            let next = progress.next(&limits, fault(ErrorClass::Unavailable), true);
            assert!(matches!(next, Next::Again(_)));
        }
        assert_eq!(progress.attempt(), 1);
    }

    #[test]
    fn reruns_count_as_a_failure_once_there_are_too_many() {
        let limits = Limits::default();
        let mut progress = Progress::default();
        for _ in 0..RERUNS {
            let next = progress.next(&limits, fault(ErrorClass::Rerun), true);
            assert!(matches!(next, Next::Again(_)));
            assert_eq!(progress.attempt(), 1);
        }
        progress.next(&limits, fault(ErrorClass::Rerun), true);
        assert_eq!(progress.attempt(), 2);
    }

    #[test]
    fn a_message_that_can_never_be_handled_is_not_retried() {
        let mut progress = Progress::default();
        let class = ErrorClass::Permanent(Reason::Undecodable);
        let next = progress.next(&Limits::default(), fault(class), false);
        let Next::Park(decision) = next else {
            panic!("not parked");
        };
        assert!(decision.is_dead() && !decision.holds_key);
    }
}
