//! How far a delivery from the queue has come.

use std::time::Duration;

use super::{
    Fault, Limits, Verdict,
    fault::Meaning,
    limits::{Failed, RERUNS},
};
use crate::Reason;

/// How far a delivery has come in this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    failures: u32,
    reruns: u32,
    outages: u32,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run it again, after a wait.
    Again(Duration),
    /// Park it.
    Park(Verdict),
}

impl Progress {
    /// Returns the number of the coming attempt, from 1.
    pub(crate) const fn attempt(&self) -> u32 {
        self.failures + 1
    }

    /// Decides what to do after a fault of a delivery from the queue.
    pub(crate) fn next(&mut self, limits: &Limits, fault: Fault, keyed: bool) -> Next {
        if let Some(wait) = self.wait_without_failure(limits, fault.meaning) {
            return Next::Again(wait);
        }
        let meaning = match fault.meaning {
            Meaning::Rerun | Meaning::Alone => Meaning::Failed,
            other => other,
        };
        self.failures += 1;
        self.reruns = 0;
        let in_place = limits.attempts_in_place.min(limits.max_attempts);
        if meaning == Meaning::Failed && self.failures < in_place {
            return Next::Again(limits.in_place.delay(self.failures - 1));
        }
        let failed = Failed {
            attempts: self.failures,
            age: Duration::ZERO,
            in_order: keyed,
            reason: Reason::Failed,
        };
        Next::Park(limits.verdict(meaning, failed, fault.text))
    }

    /// Decides what to do after a fault of a parked delivery, whose attempts the table counts.
    pub(crate) fn next_parked(&mut self, limits: &Limits, fault: Fault, failed: Failed) -> Next {
        if let Some(wait) = self.wait_without_failure(limits, fault.meaning) {
            return Next::Again(wait);
        }
        let meaning = match fault.meaning {
            Meaning::Rerun | Meaning::Alone => Meaning::Failed,
            other => other,
        };
        Next::Park(limits.verdict(meaning, failed, fault.text))
    }

    /// Reruns are bounded: a message that breaks the connection each time must not run for ever, nor one that a
    /// layer of the user's sends to a place it no longer has.
    fn wait_without_failure(&mut self, limits: &Limits, meaning: Meaning) -> Option<Duration> {
        match meaning {
            Meaning::Unavailable => {
                self.outages += 1;
                Some(limits.outage.delay(self.outages - 1))
            }
            Meaning::Rerun | Meaning::Alone if self.reruns < RERUNS => {
                self.outages = 0;
                self.reruns += 1;
                Some(limits.conflict.delay(self.reruns - 1))
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
    use super::{Fault, Limits, Meaning, Next, Progress, RERUNS};
    use crate::Reason;

    fn fault(meaning: Meaning) -> Fault {
        Fault {
            meaning,
            text: "why".into(),
        }
    }

    #[test]
    fn a_failing_delivery_is_tried_in_place_and_then_parked() {
        let limits = Limits::default();
        let mut progress = Progress::default();
        for attempt in 1..3 {
            assert_eq!(progress.attempt(), attempt);
            let next = progress.next(&limits, fault(Meaning::Failed), true);
            assert!(matches!(next, Next::Again(_)));
        }
        let Next::Park(verdict) = progress.next(&limits, fault(Meaning::Failed), true) else {
            panic!("not parked");
        };
        assert_eq!((verdict.reason, verdict.attempts), (Reason::Failed, 3));
        assert!(verdict.holds_key && !verdict.is_dead());
    }

    #[test]
    fn an_outage_never_parks() {
        let limits = Limits::default();
        let mut progress = Progress::default();
        for _ in 0..1_000 {
            let next = progress.next(&limits, fault(Meaning::Unavailable), true);
            assert!(matches!(next, Next::Again(_)));
        }
        assert_eq!(progress.attempt(), 1);
    }

    #[test]
    fn conflicts_are_no_failures_until_there_are_too_many() {
        let limits = Limits::default();
        let mut progress = Progress::default();
        for _ in 0..RERUNS {
            let next = progress.next(&limits, fault(Meaning::Rerun), true);
            assert!(matches!(next, Next::Again(_)));
            assert_eq!(progress.attempt(), 1);
        }
        progress.next(&limits, fault(Meaning::Rerun), true);
        assert_eq!(progress.attempt(), 2);
    }

    #[test]
    fn what_is_hopeless_is_not_tried_again() {
        let mut progress = Progress::default();
        let meaning = Meaning::Hopeless(Reason::Undecodable);
        let next = progress.next(&Limits::default(), fault(meaning), false);
        let Next::Park(verdict) = next else {
            panic!("not parked");
        };
        assert!(verdict.is_dead() && !verdict.holds_key);
    }
}
