//! Where a message is.

use std::fmt;

use super::inbox::Parked;

/// State of a message at the relay.
#[derive(Debug, Clone)]
pub(super) enum AtRelay {
    /// Nothing that is recorded.
    Waiting,
    /// Nothing before this time.
    Scheduled(String),
    Parked {
        reason: String,
        attempts: i32,
        detail: Option<String>,
    },
    Dropped(String),
    Published,
}

/// The place of a message that has not settled for a consumer.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In the outbox, and so many messages that are not published are before it.
    Outbox { before: usize },
    /// In the outbox or parked at the relay until this time.
    Scheduled { until: String },
    /// Parked at the relay.
    Relay {
        reason: String,
        attempts: i32,
        detail: Option<String>,
    },
    /// Published, and not recorded.
    OnItsWay,
    /// Parked in the inbox.
    Inbox(Parked),
}

impl Place {
    /// Returns the place of a message; `None` if it has settled.
    pub(super) fn of(
        at_relay: &AtRelay,
        before: usize,
        is_recorded: bool,
        parked: Option<&Parked>,
        may_be_dead: bool,
    ) -> Option<Self> {
        match (parked, at_relay) {
            (Some(row), _) => {
                let is_settled = row.is_dead && may_be_dead;
                (!is_settled).then(|| Self::Inbox(row.clone()))
            }
            (None, _) if is_recorded => None,
            (None, AtRelay::Dropped(_)) => None,
            (None, AtRelay::Waiting) => Some(Self::Outbox { before }),
            (None, AtRelay::Scheduled(until)) => Some(Self::Scheduled {
                until: until.clone(),
            }),
            (
                None,
                AtRelay::Parked {
                    reason,
                    attempts,
                    detail,
                },
            ) => Some(Self::Relay {
                reason: reason.clone(),
                attempts: *attempts,
                detail: detail.clone(),
            }),
            (None, AtRelay::Published) => Some(Self::OnItsWay),
        }
    }

    /// Returns `true` if only an operator can move the message.
    pub(super) fn needs_an_operator(&self) -> bool {
        match self {
            Self::Relay { reason, detail, .. } => {
                reason == "rejected" && detail.as_deref() != Some("discarded")
            }
            Self::Inbox(row) => row.is_dead,
            Self::Outbox { .. } | Self::Scheduled { .. } | Self::OnItsWay => false,
        }
    }

    /// Returns `true` if nothing has moved: further attempts that fail do not count.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Outbox { before }, Self::Outbox { before: other }) => before == other,
            (Self::Relay { reason, .. }, Self::Relay { reason: other, .. }) => reason == other,
            (Self::Inbox(row), Self::Inbox(other)) => {
                (row.id, row.is_dead) == (other.id, other.is_dead)
            }
            (Self::Scheduled { .. }, Self::Scheduled { .. }) | (Self::OnItsWay, Self::OnItsWay) => {
                true
            }
            _ => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbox { before } => write!(
                f,
                "in the outbox, where the relay has not taken it yet; {before} such messages are before it"
            ),
            Self::Scheduled { until } => write!(f, "waiting until {until} (deliver_after)"),
            Self::Relay {
                reason,
                attempts,
                detail,
            } => {
                write!(f, "parked at the relay: {reason}, attempts: {attempts}")?;
                detail.iter().try_for_each(|text| write!(f, ": {text}"))
            }
            Self::OnItsWay => {
                f.write_str("on its way: published, in the consumer's queue or being handled")
            }
            Self::Inbox(row) => {
                write!(f, "parked in the inbox ({})", row.what)?;
                row.error
                    .iter()
                    .try_for_each(|error| write!(f, ": {error}"))
            }
        }
    }
}
