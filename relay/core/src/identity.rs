//! Identity of the outbox's database.

/// Prefix of the names of all fence queues.
pub const FENCES: &str = "postroom.fence.";

/// Returns the regular expression that matches one fence's name alone, for the *configure* permission of the
/// relay's user.
pub fn pattern(fence: &str) -> String {
    format!("^{}$", fence.replace('.', "\\."))
}

/// Identity of a database and of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Identifier of the cluster, made by `initdb`. A physical copy has the same identifier.
    pub system_identifier: i64,
    /// Oid of the database within the cluster.
    pub database_oid: i64,
    /// Timeline, which counts promotions.
    pub timeline: i32,
}

/// Result of comparing a recorded identity with the current server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognised {
    /// The history is the same: continue.
    Same,
    /// A standby was promoted since: continue from the checkpoint, and report the promotion.
    Promoted,
    /// The database is another one: the checkpoint has no meaning there.
    Foreign,
}

impl Identity {
    /// Compares the identity recorded in a checkpoint with the server's.
    pub const fn recognise(&self, server: &Self) -> Recognised {
        if self.system_identifier != server.system_identifier
            || self.database_oid != server.database_oid
            || self.timeline > server.timeline
        {
            Recognised::Foreign
        } else if self.timeline < server.timeline {
            Recognised::Promoted
        } else {
            Recognised::Same
        }
    }

    /// Returns the name of the exclusive queue that fences the lane at the broker.
    ///
    /// The timeline is left out on purpose, so that an old primary that stays up meets the same fence.
    pub fn fence(&self, lane: i16) -> String {
        format!(
            "{FENCES}{:x}.{}.{lane}",
            self.system_identifier, self.database_oid
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, Recognised, pattern};

    #[test]
    fn a_promotion_is_the_same_database_and_a_restore_is_not() {
        let recorded = Identity {
            system_identifier: 7,
            database_oid: 5,
            timeline: 2,
        };
        assert_eq!(recorded.recognise(&recorded), Recognised::Same);
        let promoted = Identity {
            timeline: 3,
            ..recorded
        };
        assert_eq!(recorded.recognise(&promoted), Recognised::Promoted);
        let restored = Identity {
            system_identifier: 8,
            ..recorded
        };
        assert_eq!(recorded.recognise(&restored), Recognised::Foreign);
        let copied = Identity {
            database_oid: 6,
            ..recorded
        };
        assert_eq!(recorded.recognise(&copied), Recognised::Foreign);
        let behind = Identity {
            timeline: 1,
            ..recorded
        };
        assert_eq!(recorded.recognise(&behind), Recognised::Foreign);
        assert_eq!(recorded.fence(0), promoted.fence(0));
    }

    /// Rights are granted by this name: another one would lock relays out, and let two releases publish at once.
    #[test]
    fn a_fence_has_the_name_that_its_right_was_granted_for() {
        let identity = Identity {
            system_identifier: -2,
            database_oid: 16_384,
            timeline: 1,
        };
        let fence = identity.fence(0);
        assert_eq!(fence, "postroom.fence.fffffffffffffffe.16384.0");
        let granted = r"^postroom\.fence\.fffffffffffffffe\.16384\.0$";
        assert_eq!(pattern(&fence), granted);
    }
}
