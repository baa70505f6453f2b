//! What a check covers: its bounds, and the mistake that it puts back.

/// A mistake in the protocol that is put back, to show that the model would tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// New rows are looked for above the highest position delivered, instead of above the floor.
    HighestDeliveredPosition,
    /// A frame is ordered by transaction id and position, instead of by position.
    OrderByXid,
    /// The sequence is read after the transaction that makes the pair has got its id.
    PairWithinTransaction,
    /// The delivered snapshot and the floors are kept when the database comes back from a crash.
    MemoryOutlivesConnection,
    /// A frame is published as soon as it is visible, whether or not a crash can take it back.
    PublishBeforeFlush,
    /// Checkpoints are written through a connection that need not hold the lock.
    RecordWithoutLock,
}

/// A transaction that publishes messages of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Key of its messages. It locks the key before its first message.
    pub key: u8,
    /// Number of messages that it writes before it commits.
    pub rows: usize,
}

/// Bounds of a check.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The transactions. Any of them may also roll back, or never begin.
    pub producers: Vec<Producer>,
    /// Number of times that the database crashes, at most.
    pub database_crashes: u8,
    /// Number of times that a relay crashes while it holds the lease, at most.
    pub relay_crashes: u8,
    /// Number of times that the server takes the lease from a relay that does not notice, at most.
    pub lost_leases: u8,
    /// Number of checkpoints that are recorded, at most.
    pub records: u8,
    /// Number of frames that a relay has in hand, at most.
    pub open_frames: usize,
    /// The mistake that is put back, if any.
    pub trap: Option<Trap>,
}

impl Scenario {
    /// Makes a scenario in which nothing fails: one key per producer's number, so many rows each.
    pub fn new(producers: impl IntoIterator<Item = (u8, usize)>) -> Self {
        Self {
            producers: producers
                .into_iter()
                .map(|(key, rows)| Producer { key, rows })
                .collect(),
            database_crashes: 0,
            relay_crashes: 0,
            lost_leases: 0,
            records: 3,
            open_frames: 2,
            trap: None,
        }
    }

    /// Puts a mistake back.
    #[must_use]
    pub fn with_trap(self, trap: Trap) -> Self {
        Self {
            trap: Some(trap),
            ..self
        }
    }

    pub(crate) fn has(&self, trap: Trap) -> bool {
        self.trap == Some(trap)
    }
}
