//! Why a delivery is parked.

use std::fmt;

/// Why a delivery is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Its handler failed.
    Failed,
    /// Its handler put it off.
    Deferred,
    /// The broker delivered it again and again: its handler may end the process.
    Crashed,
    /// An earlier message of its key is parked.
    Behind,
    /// Its handler gave it up.
    Rejected,
    /// Its body is not what the handler takes.
    Undecodable,
    /// No handler takes its type.
    Unhandled,
    /// It is older than the dedup window: it may have been handled and forgotten.
    Stale,
    /// It is further in the future than clocks differ.
    Future,
    /// It has no id.
    NoId,
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
    ];

    /// Returns the word that stands for it in the table and in metrics.
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
        }
    }

    /// Returns the reason that a word stands for.
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
    fn the_words_are_those_of_the_table() {
        let (_, check) = migrations_sql().split_once("parked_reason CHECK").unwrap();
        let (check, _) = check.split_once("))").unwrap();
        assert_eq!(check.matches('\'').count(), 2 * Reason::ALL.len());
        for &reason in Reason::ALL {
            assert!(check.contains(&format!("'{reason}'")), "{reason}");
            assert_eq!(Reason::from_name(reason.as_str()), Some(reason));
        }
    }

    fn migrations_sql() -> &'static str {
        migrations::MIGRATIONS[1].sql
    }
}
