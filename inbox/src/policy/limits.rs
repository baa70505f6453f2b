//! How often and how long a delivery is tried.

use std::time::Duration;

use super::{Due, ParkDecision, fault::ErrorClass};
use crate::{Reason, backoff::Backoff};

/// Reruns after conflicts, before they count as a failure.
pub(super) const RERUNS: u32 = 10;

/// Longest wait that is written down.
pub(crate) const LONGEST: Duration = Duration::from_hours(24 * 36_500);

/// Shortest wait of a delivery that is put off: it would take turns with nobody.
const SHORTEST: Duration = Duration::from_millis(100);

/// How often and how long a delivery is tried.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Attempts before a delivery is parked.
    pub(crate) attempts_in_place: u32,
    /// Between those.
    pub(crate) in_place: Backoff,
    /// Attempts before a delivery is dead, those in place included.
    pub(crate) max_attempts: u32,
    /// Between those after the first parking.
    pub(crate) parked: Backoff,
    /// Redeliveries counted by the broker before a delivery is taken for one that ends the process.
    pub(crate) max_crashes: u64,
    /// For how long a delivery may be put off, from the first time on.
    pub(crate) max_deferral: Duration,
    /// For how long a delivery waits for a process that has a handler for its type.
    pub(crate) max_unhandled: Duration,
    /// Whether the key of a dead delivery goes on without it.
    pub(crate) release_dead_keys: bool,
    /// After a conflict with another transaction.
    pub(crate) conflict: Backoff,
    /// While the database cannot be used.
    pub(crate) outage: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempts_in_place: 3,
            in_place: Backoff::new(Duration::from_millis(100), Duration::from_secs(2)),
            max_attempts: 10,
            parked: Backoff::new(Duration::from_secs(10), Duration::from_hours(1)),
            max_crashes: 3,
            max_deferral: Duration::from_hours(24),
            max_unhandled: Duration::from_mins(5),
            release_dead_keys: false,
            conflict: Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
            outage: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
        }
    }
}

/// A delivery that failed: how often and for how long it was tried, and whether it stands in the
/// order of its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    /// Attempts, the failed one included.
    pub(crate) attempts: u32,
    /// Since it was first put off; zero if it is about to be.
    pub(crate) age: Duration,
    /// Whether later messages of its key wait for it.
    pub(crate) in_order: bool,
    /// What the attempts are counted against if the process ended during the last one.
    pub(crate) reason: Reason,
}

impl Limits {
    /// Decides how a delivery is parked that cannot be handled now.
    ///
    /// # Panics
    /// In debug builds, if the fault calls for a rerun instead.
    pub(crate) fn decision(
        &self,
        class: ErrorClass,
        failed: Failed,
        error: String,
    ) -> ParkDecision {
        let (reason, due, holds_key) = match class {
            ErrorClass::Failed if failed.attempts < self.max_attempts => {
                let tries = failed.attempts.saturating_sub(self.attempts_in_place);
                // "Never" is no time that a table holds.
                let wait = self.parked.delay(tries).min(LONGEST);
                (failed.reason, Due::In(wait), failed.in_order)
            }
            ErrorClass::Deferred(wait) if failed.age < self.max_deferral => {
                let wait = wait.unwrap_or_else(|| self.parked.delay(0));
                // Beyond that it will be dead.
                let wait = wait.max(SHORTEST).min(self.max_deferral).min(LONGEST);
                (Reason::Deferred, Due::In(wait), false)
            }
            ErrorClass::Deferred(_) => (Reason::Deferred, Due::Never, false),
            ErrorClass::Hopeless(reason) => {
                let holds = failed.in_order && self.dead_holds(reason);
                (reason, Due::Never, holds)
            }
            ErrorClass::Failed
            | ErrorClass::Ended
            | ErrorClass::Rerun
            | ErrorClass::Alone
            | ErrorClass::Unavailable => {
                let is_failure = matches!(class, ErrorClass::Failed | ErrorClass::Ended);
                debug_assert!(is_failure, "{class:?} is no failure");
                let holds = failed.in_order && self.dead_holds(failed.reason);
                (failed.reason, Due::Never, holds)
            }
        };
        let counted = u32::from(reason != Reason::Deferred);
        ParkDecision {
            reason,
            due,
            attempts: failed.attempts.saturating_sub(1) + counted,
            holds_key,
            recorded: class == ErrorClass::Ended,
            error: Some(error),
        }
    }

    /// Decides how a delivery is parked that the broker delivered too often.
    ///
    /// It is run at least once more, by the parked worker: broken connections count too.
    pub(crate) fn crashed(&self, deliveries: u64, in_order: bool) -> ParkDecision {
        let attempts = u32::try_from(deliveries).unwrap_or(u32::MAX);
        ParkDecision {
            reason: Reason::Crashed,
            due: Due::In(Duration::ZERO),
            // A claim that is cut short before the handler runs counts as well.
            attempts: attempts.min(self.max_attempts.saturating_sub(2)),
            holds_key: in_order,
            recorded: false,
            error: Some(format!(
                "delivered {deliveries} times before without an answer; its handler may end the process, if that was not ended otherwise each time"
            )),
        }
    }

    /// Decides how a delivery is parked whose type has no handler in this process: others may have one,
    /// while a new release takes the place of an old one, and claim it at once.
    pub(crate) fn unhandled(type_name: &str, in_order: bool) -> ParkDecision {
        ParkDecision {
            reason: Reason::Unhandled,
            due: Due::In(Duration::ZERO),
            attempts: 0,
            holds_key: in_order,
            recorded: false,
            error: Some(format!("no handler takes the type {type_name:?}")),
        }
    }

    /// Parks a message dead that cannot be read as its publisher sent it.
    pub(crate) fn unreadable(&self, error: String, in_order: bool) -> ParkDecision {
        ParkDecision {
            holds_key: in_order && !self.release_dead_keys,
            ..ParkDecision::hopeless(Reason::Undecodable, error)
        }
    }

    /// Whether later messages of a dead one's key wait with it. A message that nobody could have handled in
    /// order does not stop its key.
    fn dead_holds(&self, reason: Reason) -> bool {
        let out_of_order = matches!(
            reason,
            Reason::Stale | Reason::Future | Reason::NoId | Reason::Unhandled
        );
        !out_of_order && !self.release_dead_keys
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, Due, ErrorClass, Failed, LONGEST, Limits, ParkDecision};
    use crate::Reason;

    fn decision(limits: &Limits, class: ErrorClass, attempts: u32, age: Duration) -> ParkDecision {
        let failed = Failed {
            attempts,
            age,
            in_order: true,
            reason: Reason::Failed,
        };
        limits.decision(class, failed, "why".into())
    }

    #[test]
    fn failures_wait_longer_and_longer_and_then_are_dead() {
        let limits = Limits::default();
        let waits =
            |attempts| match decision(&limits, ErrorClass::Failed, attempts, Duration::ZERO).due {
                Due::In(wait) => wait,
                other => panic!("{other:?}"),
            };
        assert!(waits(3) <= Duration::from_secs(10));
        assert!(waits(9) > Duration::from_mins(5));
        let dead = decision(&limits, ErrorClass::Failed, 10, Duration::ZERO);
        assert_eq!((dead.state(), dead.holds_key), ("dead", true));
        let released = Limits {
            release_dead_keys: true,
            ..limits
        };
        assert!(!decision(&released, ErrorClass::Failed, 10, Duration::ZERO).holds_key);
        assert!(decision(&released, ErrorClass::Failed, 9, Duration::ZERO).holds_key);
    }

    #[test]
    fn never_is_as_late_as_the_table_can_hold() {
        let limits = Limits {
            parked: Backoff::new(Duration::MAX, Duration::MAX),
            ..Limits::default()
        };
        let due = decision(&limits, ErrorClass::Failed, 3, Duration::ZERO).due;
        assert_eq!(due, Due::In(LONGEST));
    }

    #[test]
    fn putting_off_counts_no_failure_holds_no_key_and_ends() {
        let limits = Limits::default();
        let wait = Duration::from_secs(7);
        let put_off = decision(&limits, ErrorClass::Deferred(Some(wait)), 4, Duration::ZERO);
        assert_eq!(put_off.due, Due::In(wait));
        assert_eq!(put_off.attempts, 3);
        assert!(!put_off.holds_key);
        let day = Duration::from_hours(24);
        let too_long = decision(&limits, ErrorClass::Deferred(Some(wait)), 4, day);
        assert_eq!(
            (too_long.reason, too_long.due),
            (Reason::Deferred, Due::Never)
        );
    }

    #[test]
    fn what_could_not_have_been_handled_in_order_holds_no_key() {
        let limits = Limits::default();
        let holds = |reason| {
            let decision = decision(&limits, ErrorClass::Hopeless(reason), 1, Duration::ZERO);
            assert!(decision.is_dead());
            decision.holds_key
        };
        assert!(holds(Reason::Rejected) && holds(Reason::Undecodable));
        assert!(!holds(Reason::Stale) && !holds(Reason::Future));
        assert!(!holds(Reason::NoId) && !holds(Reason::Unhandled));
    }

    #[test]
    fn a_crashing_delivery_is_run_at_least_once_more() {
        let crashed = Limits::default().crashed(500, true);
        assert_eq!(crashed.attempts, 8);
        assert_eq!((crashed.state(), crashed.holds_key), ("waiting", true));
    }
}
