//! The limits of retries, and the decision how a failed delivery is parked.

use std::time::Duration;

use postroom_message::Backoff;

use super::{Due, ParkDecision, fault::ErrorClass};
use crate::{Delivery, Reason};

/// Reruns in succession, for example after conflicts, before a further one counts as a failure.
pub(super) const RERUNS: u32 = 10;

/// Longest wait that is written to the table: 100 years.
pub(crate) const LONGEST: Duration = Duration::from_hours(24 * 36_500);

/// Shortest wait of a deferred delivery; without it the delivery could run again and again at once.
const SHORTEST: Duration = Duration::from_millis(100);

/// Limits of attempts and waits; set by [`ConsumerBuilder`](crate::ConsumerBuilder).
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Attempts before a delivery is parked.
    pub(crate) attempts_in_place: u32,
    /// Waits between the attempts before parking.
    pub(crate) in_place: Backoff,
    /// Attempts before a delivery is dead, those before parking included.
    pub(crate) max_attempts: u32,
    /// Waits between the attempts at a parked delivery.
    pub(crate) parked: Backoff,
    /// Redeliveries counted by the broker before a delivery is suspected of ending the process.
    pub(crate) max_crashes: u64,
    /// Longest time for which a delivery may be deferred, from the first deferral on.
    pub(crate) max_deferral: Duration,
    /// Longest time for which a delivery waits for a process that has a handler for its type.
    pub(crate) max_unhandled: Duration,
    /// `true` if a dead delivery does not hold back later ones of its key.
    pub(crate) release_dead_keys: bool,
    /// Waits between reruns after conflicts with other transactions.
    pub(crate) conflict: Backoff,
    /// Waits between retries while the database cannot be used.
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

/// The state of a delivery that failed: attempts, age, and position in its key's order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    /// Attempts, the failed one included.
    pub(crate) attempts: u32,
    /// Time since the first deferral; zero if the delivery was not deferred before.
    pub(crate) age: Duration,
    /// `true` if later messages of its key wait for the delivery.
    pub(crate) in_order: bool,
    /// Reason of a failure: [`Reason::Crashed`] if the process ended during the last attempt.
    pub(crate) reason: Reason,
}

impl Limits {
    /// Decides how to park a delivery that cannot be handled now.
    ///
    /// # Panics
    /// In debug builds, if the class demands a rerun instead.
    pub(crate) fn decision(
        &self,
        class: ErrorClass,
        failed: Failed,
        error: String,
    ) -> ParkDecision {
        let (reason, due, holds_key) = match class {
            ErrorClass::Failed if failed.attempts < self.max_attempts => {
                let tries = failed.attempts.saturating_sub(self.attempts_in_place);
                // The setting may exceed the latest time that the table can store.
                let wait = self.parked.wait(tries.saturating_add(1)).min(LONGEST);
                (failed.reason, Due::In(wait), failed.in_order)
            }
            ErrorClass::Deferred(wait) if failed.age < self.max_deferral => {
                let wait = wait.unwrap_or_else(|| self.parked.wait(1));
                // After `max_deferral` the delivery will be dead.
                let wait = wait.max(SHORTEST).min(self.max_deferral).min(LONGEST);
                (Reason::Deferred, Due::In(wait), false)
            }
            ErrorClass::Deferred(_) => (Reason::Deferred, Due::Never, false),
            ErrorClass::Early(wait) => {
                let wait = wait.max(SHORTEST).min(LONGEST);
                (Reason::Future, Due::In(wait), false)
            }
            ErrorClass::Permanent(reason) => {
                let holds = failed.in_order && self.dead_holds_key(reason);
                (reason, Due::Never, holds)
            }
            ErrorClass::Failed
            | ErrorClass::Ended
            | ErrorClass::Rerun
            | ErrorClass::Unavailable => {
                let is_failure = matches!(class, ErrorClass::Failed | ErrorClass::Ended);
                debug_assert!(is_failure, "{class:?} is no failure");
                let holds = failed.in_order && self.dead_holds_key(failed.reason);
                (failed.reason, Due::Never, holds)
            }
        };
        let is_waiting = matches!(class, ErrorClass::Deferred(_) | ErrorClass::Early(_));
        let counted = u32::from(!is_waiting);
        ParkDecision {
            reason,
            due,
            attempts: failed.attempts.saturating_sub(1) + counted,
            holds_key,
            recorded: class == ErrorClass::Ended,
            error: Some(error),
        }
    }

    /// Decides how to park a delivery that the broker redelivered too often.
    ///
    /// The parked worker runs the delivery at least once more, since the broker's count includes lost
    /// connections.
    pub(crate) fn crashed(&self, deliveries: u64, in_order: bool) -> ParkDecision {
        let attempts = u32::try_from(deliveries).unwrap_or(u32::MAX);
        ParkDecision {
            reason: Reason::Crashed,
            due: Due::In(Duration::ZERO),
            // Room for two attempts: a claim counts as one even if it ends before the handler runs.
            attempts: attempts.min(self.max_attempts.saturating_sub(2)),
            holds_key: in_order,
            recorded: false,
            error: Some(format!(
                "delivered {deliveries} times before without an answer; its handler may end the process, if that was not ended otherwise each time"
            )),
        }
    }

    /// Decides how to park a delivery whose type has no handler in this process. During a deployment another
    /// process may have a handler, and claims the row at once.
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

    /// Decides how to park a delivery whose body has a newer version than `newest`, the newest that this process knows:
    /// the delivery waits in its place for a process that knows the version.
    pub(crate) fn newer(delivery: &Delivery, newest: u32, in_order: bool) -> ParkDecision {
        let version = delivery.message().version.unwrap_or_default();
        ParkDecision {
            reason: Reason::NewerVersion,
            due: Due::OnceKnown,
            attempts: delivery.attempt().saturating_sub(1),
            holds_key: in_order,
            recorded: false,
            error: Some(format!(
                "the body of type {:?} has version {version}, and the newest that this process knows is {newest}; start a release that knows version {version}",
                delivery.type_name()
            )),
        }
    }

    /// Decides how to park a message whose publisher was not trusted and is now: due at once, for a process that has a
    /// handler.
    pub(crate) fn admitted(in_order: bool) -> ParkDecision {
        ParkDecision {
            error: None,
            ..Self::unhandled("", in_order)
        }
    }

    /// Decides how to park a message that cannot be read as its publisher sent it: dead.
    pub(crate) fn unreadable(&self, error: String, in_order: bool) -> ParkDecision {
        ParkDecision {
            holds_key: in_order && !self.release_dead_keys,
            ..ParkDecision::dead(Reason::Undecodable, error)
        }
    }

    /// Returns `true` if a dead message holds back later messages of its key. A message that could not have
    /// been handled in order does not.
    fn dead_holds_key(&self, reason: Reason) -> bool {
        let out_of_order = matches!(
            reason,
            Reason::Stale | Reason::Future | Reason::NoId | Reason::Unhandled | Reason::Untrusted
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
    fn a_failing_message_waits_longer_after_each_attempt_and_is_dead_after_the_last() {
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
    fn an_unlimited_wait_is_shortened_to_what_the_table_can_store() {
        let limits = Limits {
            parked: Backoff::new(Duration::MAX, Duration::MAX),
            ..Limits::default()
        };
        let due = decision(&limits, ErrorClass::Failed, 3, Duration::ZERO).due;
        assert_eq!(due, Due::In(LONGEST));
    }

    #[test]
    fn a_deferral_counts_no_failure_holds_no_key_and_is_limited() {
        let limits = Limits::default();
        let wait = Duration::from_secs(7);
        let deferred = decision(&limits, ErrorClass::Deferred(Some(wait)), 4, Duration::ZERO);
        assert_eq!(deferred.due, Due::In(wait));
        assert_eq!(deferred.attempts, 3);
        assert!(!deferred.holds_key);
        let day = Duration::from_hours(24);
        let too_long = decision(&limits, ErrorClass::Deferred(Some(wait)), 4, day);
        assert_eq!(
            (too_long.reason, too_long.due),
            (Reason::Deferred, Due::Never)
        );
    }

    #[test]
    fn a_message_from_the_future_that_an_operator_retries_waits_for_its_time() {
        let month = Duration::from_hours(30 * 24);
        let class = ErrorClass::Early(month);
        let early = decision(&Limits::default(), class, 1, Duration::ZERO);
        assert_eq!((early.reason, early.due), (Reason::Future, Due::In(month)));
        assert_eq!((early.attempts, early.holds_key), (0, false));
    }

    #[test]
    fn a_dead_message_that_could_not_be_handled_in_order_holds_no_key() {
        let limits = Limits::default();
        let holds = |reason| {
            let decision = decision(&limits, ErrorClass::Permanent(reason), 1, Duration::ZERO);
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
