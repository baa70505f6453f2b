//! Result of comparing histories.

use std::fmt;

/// Two messages of a key in the wrong order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disorder {
    /// Key of both messages.
    pub key: String,
    /// Id of the message seen first, which was committed later.
    pub first: String,
    /// Id of the message seen next.
    pub then: String,
}

/// Result of comparing histories, with the ids of the wrong messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of committed messages.
    pub committed: usize,
    /// Number of distinct committed messages that were received or had an effect.
    pub seen: usize,
    /// Ids committed and never received, or without an effect.
    pub lost: Vec<String>,
    /// Ids received or with an effect, and never committed.
    pub ghosts: Vec<String>,
    /// Ids with more than one effect.
    pub excess: Vec<String>,
    /// Number of repeated receptions: allowed in the documented windows, never as effects.
    pub repeats: usize,
    /// Pairs of first occurrences in the wrong order.
    pub disorders: Vec<Disorder>,
    /// Ids received with another key than committed.
    pub wrong_keys: Vec<String>,
}

impl Report {
    /// Returns `true` if nothing was lost, invented, done twice or out of order. Repeats are allowed.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.ghosts.is_empty()
            && self.excess.is_empty()
            && self.disorders.is_empty()
            && self.wrong_keys.is_empty()
    }

    /// Panics with the ids of the wrong messages unless the report is clean.
    ///
    /// # Panics
    /// If the report is not clean.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "committed {}, seen {}, lost {}, ghosts {}, effects beyond one {}, out of order {}, wrong keys {}, repeats {}",
            self.committed,
            self.seen,
            self.lost.len(),
            self.ghosts.len(),
            self.excess.len(),
            self.disorders.len(),
            self.wrong_keys.len(),
            self.repeats
        )?;
        let lists = [
            ("lost", &self.lost),
            ("ghosts", &self.ghosts),
            ("effects beyond one", &self.excess),
            ("wrong keys", &self.wrong_keys),
        ];
        for (name, ids) in lists.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            write!(f, "\n{name}: {}", ids[..ids.len().min(10)].join(" "))?;
        }
        for disorder in self.disorders.iter().take(10) {
            let Disorder { key, first, then } = disorder;
            write!(f, "\nout of order: key {key:?} saw {first} before {then}")?;
        }
        Ok(())
    }
}
