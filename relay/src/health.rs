//! What this relay is doing, for health checks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::Serialize;
use tokio::sync::watch;

/// Whether this relay publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It has not reached the database yet, or lost it.
    #[default]
    Starting,
    /// Another relay holds the lease; this one would take over.
    Standby,
    /// It holds the lease.
    Active,
}

/// What this relay is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether it publishes.
    pub role: Role,
    /// State of its connection to the broker: `disconnected`, `connecting`, `ready`, `blocked`,
    /// `unconfirmed` (connected again, and nothing confirmed yet). While it stands by: `disconnected` or
    /// `refused` if it could not connect when it last tried, or nothing.
    pub broker: &'static str,
    /// What is wrong, if anything is.
    pub problem: Option<String>,
}

impl Health {
    /// Whether it does what it is there for: stand by, or publish.
    pub fn is_ready(&self) -> bool {
        match self.role {
            Role::Starting => false,
            // One that is refused could not take over; a broker that is away is so for all.
            Role::Standby => self.broker != "refused",
            Role::Active => self.broker == "ready",
        }
    }
}

/// Tells what this relay is doing.
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

    /// Whether the broker has ever been ready: then its configuration is right.
    pub(crate) fn was_ready(&self) -> bool {
        self.was_ready.load(Ordering::Relaxed)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.health.borrow().role == Role::Active
    }

    pub(crate) fn role(&self, role: Role) {
        self.health.send_modify(|health| {
            *health = Health {
                role,
                ..Health::default()
            };
        });
    }

    pub(crate) fn lost(&self, problem: String) {
        self.health.send_modify(|health| {
            *health = Health {
                problem: Some(problem),
                ..Health::default()
            };
        });
    }

    /// Something holds it up that will pass.
    pub(crate) fn problem(&self, problem: String) {
        self.health
            .send_modify(|health| health.problem = Some(problem));
    }

    /// What a relay that stands by found at the broker.
    pub(crate) fn visited(&self, is_refused: bool, problem: Option<String>) {
        self.health.send_modify(|health| {
            health.broker = match (is_refused, &problem) {
                (true, _) => "refused",
                (false, Some(_)) => "disconnected",
                (false, None) => "",
            };
            health.problem = problem;
        });
    }

    pub(crate) fn broker(&self, state: &crate::broker::State) {
        use crate::broker::State;
        let (name, problem) = match state {
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
            // While it tries again, the reason of the last loss is still what to know.
            if !matches!(name, "connecting" | "unconfirmed") {
                health.problem = problem;
            }
        });
    }
}
