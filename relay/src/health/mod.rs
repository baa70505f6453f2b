//! Role and readiness of this relay, for health checks.

mod broker_state;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::Serialize;
use tokio::sync::watch;

pub(crate) use broker_state::State;

/// Role of this relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The relay has not reached the database yet, or has lost it.
    #[default]
    Starting,
    /// Another relay holds the lease; this relay would take over.
    Standby,
    /// This relay holds the lease.
    Active,
}

/// Health of this relay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Current role.
    pub role: Role,
    /// State of the broker connection: `disconnected`, `refused` (disconnected until a person changes a
    /// permission, a password, a queue or an exchange), `connecting`, `ready`, `blocked` or `unconfirmed`
    /// (reconnected, with nothing confirmed yet). Of a standby: `disconnected` or `refused` if its last
    /// attempt failed, else empty.
    pub broker: &'static str,
    /// Description of the current problem; `None` if there is none.
    pub problem: Option<String>,
    /// Problems of a standby, of which the first one is shown.
    #[serde(skip)]
    standby: StandbyProblems,
}

/// Problems that would keep a standby from taking over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct StandbyProblems {
    /// A session that is no relay holds the lease.
    lease: Option<String>,
    /// The last attempt at the broker failed.
    broker: Option<String>,
}

impl Health {
    /// Returns `true` if the relay fulfils its role: publishing, or standing by.
    pub fn is_ready(&self) -> bool {
        match self.role {
            Role::Starting => false,
            // A refused standby could not take over, nor could one while a session that is no relay holds the lease.
            // An unreachable broker is unreachable for all relays.
            Role::Standby => self.broker != "refused" && self.standby.lease.is_none(),
            Role::Active => self.broker == "ready",
        }
    }

    fn show_standby_problem(&mut self) {
        let StandbyProblems { lease, broker } = &self.standby;
        self.problem = lease.as_ref().or(broker.as_ref()).cloned();
    }
}

/// Sender of this relay's health.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    health: watch::Sender<Health>,
    was_ready: Arc<AtomicBool>,
}

impl Reporter {
    pub(crate) fn new() -> Self {
        Self {
            health: watch::Sender::new(Health::default()),
            was_ready: Arc::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Returns `true` if the broker has ever been ready, so that its configuration must be right.
    pub(crate) fn was_ready(&self) -> bool {
        self.was_ready.load(Ordering::Relaxed)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.health.borrow().role == Role::Active
    }

    pub(crate) fn role(&self, role: Role) {
        self.health.send_replace(Health {
            role,
            ..Health::default()
        });
    }

    pub(crate) fn lost(&self, problem: String) {
        self.health.send_replace(Health {
            problem: Some(problem),
            ..Health::default()
        });
    }

    /// Reports a temporary problem.
    pub(crate) fn problem(&self, problem: String) {
        self.health
            .send_modify(|health| health.problem = Some(problem));
    }

    /// Reports the problem of a lease that a session holds which is no relay; `None` if a relay holds it.
    pub(crate) fn standby_lease(&self, problem: Option<String>) {
        self.health.send_modify(|health| {
            health.standby.lease = problem;
            health.show_standby_problem();
        });
    }

    /// Reports the result of a standby's connection attempt to the broker.
    pub(crate) fn standby_broker(&self, is_refused: bool, problem: Option<String>) {
        self.health.send_modify(|health| {
            health.broker = match (is_refused, &problem) {
                (true, _) => "refused",
                (false, Some(_)) => "disconnected",
                (false, None) => "",
            };
            health.standby.broker = problem;
            health.show_standby_problem();
        });
    }

    pub(crate) fn broker(&self, state: &State) {
        let (name, problem) = match state {
            State::Disconnected {
                reason,
                refused: true,
                ..
            } => ("refused", Some(reason.clone())),
            State::Disconnected { reason, .. } => ("disconnected", Some(reason.clone())),
            State::Connecting => ("connecting", None),
            State::Ready => ("ready", None),
            State::Blocked { reason } => ("blocked", Some(reason.clone())),
            State::Unconfirmed => ("unconfirmed", None),
        };
        self.was_ready
            .fetch_or(matches!(state, State::Ready), Ordering::Relaxed);
        self.health.send_modify(|health| {
            health.broker = name;
            // While the relay reconnects, the reason of the last loss remains the problem shown.
            if !matches!(name, "connecting" | "unconfirmed") {
                health.problem = problem;
            }
        });
    }
}
