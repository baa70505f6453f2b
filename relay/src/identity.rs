//! Which database this is.

/// What the names of all fences begin with.
pub(crate) const FENCES: &str = "postroom.fence.";

/// Tells one database from another, and one history of it from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Of the cluster, made by `initdb`. A physical copy shares it.
    pub(crate) system_identifier: i64,
    /// Of the database within the cluster.
    pub(crate) database_oid: i64,
    /// Counts promotions.
    pub(crate) timeline: i32,
}

/// What a recorded identity says about the server at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recognised {
    /// The same history: go on.
    Same,
    /// A standby was promoted since: go on from the checkpoint, and tell.
    Promoted,
    /// Another database: what the checkpoint says means nothing here.
    Foreign,
}

impl Identity {
    /// Compares the identity that a checkpoint recorded with that of the server.
    pub(crate) const fn recognise(&self, server: &Self) -> Recognised {
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

    /// Name of the exclusive queue that fences the lane at the broker.
    ///
    /// The timeline is left out on purpose: an old primary that stays up must meet the fence.
    pub(crate) fn fence(&self, lane: i16) -> String {
        format!(
            "{FENCES}{:x}.{}.{lane}",
            self.system_identifier, self.database_oid
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, Recognised};

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
}
