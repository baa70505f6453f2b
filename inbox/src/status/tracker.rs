//! Keeps the state of a consumer up to date while it runs.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    ConsumerState, StatusReport,
    guards::{InFlight, Run},
};

/// Facts that change rarely; each change wakes those who wait for a state.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) state: ConsumerState,
    since: Instant,
    /// Reason why there is no subscription, or why the consumer has ended.
    subscription: Option<Arc<str>>,
    /// Reason why the last use of the database failed.
    database: Option<Arc<str>>,
    /// Reason why the bindings could not be repeated.
    bindings: Option<Arc<str>>,
}

impl Facts {
    pub(super) const fn is_ready(&self) -> bool {
        let subscribed = matches!(
            self.state,
            ConsumerState::Subscribed | ConsumerState::StandingBy
        );
        subscribed && self.database.is_none()
    }

    fn enter(&mut self, state: ConsumerState) {
        if self.state != state {
            self.state = state;
            self.since = Instant::now();
        }
    }

    fn problem(&self) -> Option<String> {
        let problems = [&self.subscription, &self.database, &self.bindings];
        let problems: Vec<&str> = problems.into_iter().flatten().map(|text| &**text).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

/// State of a consumer, which its tasks update.
///
/// Cheap where it is called for each delivery: the watched facts change only with a state or a problem.
#[derive(Debug)]
pub(crate) struct Tracker {
    consumer: Arc<str>,
    queue: OnceLock<String>,
    facts: watch::Sender<Facts>,
    created: Instant,
    /// Milliseconds from `created` to the last delivery, plus one; 0 without a delivery.
    last_delivery: AtomicU64,
    in_flight: AtomicUsize,
    /// `true` while `facts` holds a problem of the database.
    database_fails: AtomicBool,
    /// `true` if the broker served another subscriber when this one subscribed, and has delivered nothing here since.
    other_is_served: AtomicBool,
}

impl Tracker {
    pub(crate) fn new(consumer: Arc<str>) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            consumer,
            queue: OnceLock::new(),
            facts: watch::Sender::new(Facts {
                state: ConsumerState::Created,
                since: now,
                subscription: None,
                database: None,
                bindings: None,
            }),
            created: now,
            last_delivery: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            database_fails: AtomicBool::new(false),
            other_is_served: AtomicBool::new(false),
        })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Facts> {
        self.facts.subscribe()
    }

    pub(super) fn report(&self) -> StatusReport {
        let facts = self.facts.borrow();
        let last = self.last_delivery.load(Relaxed).checked_sub(1);
        let last = last.map(|millis| self.created + Duration::from_millis(millis));
        StatusReport {
            consumer: self.consumer.to_string(),
            queue: self.queue.get().cloned().unwrap_or_default(),
            state: facts.state,
            is_ready: facts.is_ready(),
            since: facts.since.elapsed(),
            last_delivery: last.map(|last| last.elapsed()),
            in_flight: self.in_flight.load(Relaxed),
            problem: facts.problem(),
        }
    }

    /// Sets the name of the queue, or of another source.
    pub(crate) fn set_queue(&self, name: &str) {
        // The name of a consumer's queue does not change.
        let _ = self.queue.set(name.to_owned());
    }

    /// Records that the tasks start, and returns the guard of the run.
    pub(crate) fn started(self: &Arc<Self>) -> Run {
        self.enter(ConsumerState::WaitingForDatabase);
        Run::new(self)
    }

    pub(crate) fn connecting(&self) {
        self.enter(ConsumerState::WaitingForBroker);
    }

    pub(crate) fn disconnected(&self, error: &str) {
        self.facts.send_modify(|facts| {
            facts.enter(ConsumerState::WaitingForBroker);
            facts.subscription = Some(error.into());
        });
    }

    pub(crate) fn waiting_for_exchange(&self, exchange: &str) {
        self.facts.send_modify(|facts| {
            facts.enter(ConsumerState::WaitingForExchange);
            let text =
                format!("the exchange {exchange:?} does not exist; start a relay that declares it");
            facts.subscription = Some(text.into());
        });
    }

    /// Records a new subscription.
    pub(crate) fn subscribed(&self) {
        let state = if self.other_is_served.load(Relaxed) {
            ConsumerState::StandingBy
        } else {
            ConsumerState::Subscribed
        };
        self.facts.send_modify(|facts| {
            facts.enter(state);
            facts.subscription = None;
            facts.bindings = None;
        });
    }

    /// Records, before a subscription, `true` if the broker serves another subscriber of the queue, and only one.
    pub(crate) fn found_another(&self, is_served: bool) {
        self.other_is_served.store(is_served, Relaxed);
    }

    /// Records that the bindings were repeated, or why not.
    pub(crate) fn bound(&self, problem: Option<&str>) {
        self.facts.send_if_modified(|facts| {
            let changes = facts.bindings.as_deref() != problem;
            if changes {
                facts.bindings = problem.map(Into::into);
            }
            changes
        });
    }

    /// Records that a delivery has come.
    pub(crate) fn received(&self) {
        let millis = self.created.elapsed().as_millis() as u64;
        self.last_delivery.store(millis + 1, Relaxed);
        if self.other_is_served.load(Relaxed) && self.other_is_served.swap(false, Relaxed) {
            self.facts.send_if_modified(|facts| {
                let stood_by = facts.state == ConsumerState::StandingBy;
                if stood_by {
                    facts.enter(ConsumerState::Subscribed);
                }
                stood_by
            });
        }
    }

    /// Counts deliveries as no longer being handled.
    pub(super) fn handled(&self, deliveries: usize) {
        self.in_flight.fetch_sub(deliveries, Relaxed);
    }

    /// Counts deliveries as being handled, until the guard is dropped.
    pub(crate) fn handling(&self, deliveries: usize) -> InFlight<'_> {
        self.in_flight.fetch_add(deliveries, Relaxed);
        InFlight::new(self, deliveries)
    }

    pub(crate) fn database_failed(&self, error: &str) {
        self.facts
            .send_modify(|facts| facts.database = Some(error.into()));
        self.database_fails.store(true, Relaxed);
    }

    pub(crate) fn database_works(&self) {
        if self.database_fails.load(Relaxed) && self.database_fails.swap(false, Relaxed) {
            self.facts.send_modify(|facts| facts.database = None);
        }
    }

    pub(crate) fn stopping(&self) {
        self.enter(ConsumerState::Stopping);
    }

    fn enter(&self, state: ConsumerState) {
        self.facts.send_modify(|facts| facts.enter(state));
    }

    pub(super) fn ended(&self, state: ConsumerState, problem: Option<&str>) {
        self.facts.send_modify(|facts| {
            facts.enter(state);
            facts.subscription = problem.map(Into::into);
            facts.database = None;
            facts.bindings = None;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{ConsumerState, Tracker};

    #[test]
    fn a_consumer_is_ready_once_it_is_subscribed_and_its_database_works() {
        let tracker = Tracker::new("billing".into());
        let run = tracker.started();
        tracker.database_failed("refused");
        tracker.subscribed();
        let report = tracker.report();
        assert!(!report.is_ready, "{report}");
        assert_eq!(report.problem.as_deref(), Some("refused"));
        tracker.database_works();
        assert!(tracker.report().is_ready);
        tracker.disconnected("reset");
        let report = tracker.report();
        assert!(!report.is_ready, "{report}");
        assert_eq!(report.state, ConsumerState::WaitingForBroker);
        run.ended(None);
        assert_eq!(tracker.report().state, ConsumerState::Stopped);
        assert_eq!(tracker.report().problem, None);
    }

    #[test]
    fn a_process_stands_by_until_a_delivery_comes() {
        let tracker = Tracker::new("billing".into());
        let state = || tracker.report().state;
        tracker.found_another(true);
        tracker.subscribed();
        assert_eq!(state(), ConsumerState::StandingBy);
        assert!(tracker.report().is_ready);
        tracker.received();
        assert_eq!(state(), ConsumerState::Subscribed);
        // Another process may be served after the loss of the connection.
        tracker.found_another(true);
        tracker.subscribed();
        assert_eq!(state(), ConsumerState::StandingBy);
        tracker.found_another(false);
        tracker.subscribed();
        assert_eq!(state(), ConsumerState::Subscribed);
    }

    #[test]
    fn a_dropped_run_has_failed() {
        let tracker = Tracker::new("billing".into());
        drop(tracker.started());
        let report = tracker.report();
        assert_eq!(report.state, ConsumerState::Failed);
        assert!(report.problem.unwrap().contains("dropped"));
    }
}
