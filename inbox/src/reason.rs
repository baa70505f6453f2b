//! The reasons for parking a delivery.

use std::fmt;

/// The reason why a delivery is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The handler failed.
    Failed,
    /// The handler deferred the message.
    Deferred,
    /// The handler may end the process: the broker redelivered the message too often, or the process ended
    /// during its last attempt.
    Crashed,
    /// An earlier message of the same key is parked.
    Behind,
    /// The handler rejected the message.
    Rejected,
    /// The body cannot be decoded as the handler's event, or the message cannot be read as it was sent.
    Undecodable,
    /// No handler takes the message's type.
    Unhandled,
    /// The message is older than the dedup window, so its record may have been deleted.
    Stale,
    /// The message's time is further ahead than
    /// [`future_skew`](crate::ConsumerBuilder::future_skew) allows.
    Future,
    /// The message has no id.
    NoId,
    /// The message's publisher is none of the
    /// [`trusted_publishers`](crate::ConsumerBuilder::trusted_publishers). Its id is not recorded.
    Untrusted,
    /// The body's version is above the newest one that this process knows. The message waits for a process that
    /// knows the version.
    NewerVersion,
}

impl Reason {
    /// All reasons.
    pub const ALL: &'static [Self] = &[
        Self::Failed,
        Self::Deferred,
        Self::Crashed,
        Self::Behind,
        Self::Rejected,
        Self::Undecodable,
        Self::Unhandled,
        Self::Stale,
        Self::Future,
        Self::NoId,
        Self::Untrusted,
        Self::NewerVersion,
    ];

    /// Returns the reason's name in `inbox.parked` and in metrics, such as `no_id`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Deferred => "deferred",
            Self::Crashed => "crashed",
            Self::Behind => "behind",
            Self::Rejected => "rejected",
            Self::Undecodable => "undecodable",
            Self::Unhandled => "unhandled",
            Self::Stale => "stale",
            Self::Future => "future",
            Self::NoId => "no_id",
            Self::Untrusted => "untrusted",
            Self::NewerVersion => "newer_version",
        }
    }

    /// Returns the reason with this name; `None` if this release knows no such reason.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn the_names_are_those_that_the_table_allows() {
        let (_, check) = migrations_sql()
            .split_once("parked_reason\n    CHECK")
            .unwrap();
        let (check, _) = check.split_once("))").unwrap();
        assert_eq!(check.matches('\'').count(), 2 * Reason::ALL.len());
        for &reason in Reason::ALL {
            assert!(check.contains(&format!("'{reason}'")), "{reason}");
            assert_eq!(Reason::from_name(reason.as_str()), Some(reason));
        }
    }

    fn migrations_sql() -> &'static str {
        migrations::MIGRATIONS[4].sql
    }
}
