//! Scenarios: the bounds of a search, and the mistake to put back.

/// A mistake in the protocol that is put back, to show that the model finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// New rows are selected above the highest delivered position instead of above the floor.
    HighestDeliveredPosition,
    /// A frame is ordered by transaction id and position instead of by position.
    OrderByXid,
    /// The sequence is read after the transaction of the pair has got its id.
    PairWithinTransaction,
    /// The delivered snapshot and the floors are kept over a crash of the database.
    MemoryOutlivesConnection,
    /// A frame is published as soon as it is visible, even if a crash can still undo it.
    PublishBeforeFlush,
    /// Checkpoints are written through a connection that may not hold the lock.
    RecordWithoutLock,
}

/// A transaction that publishes messages of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Key of the producer's messages. The producer locks the key before its first message.
    pub key: u8,
    /// Number of messages written before the commit.
    pub rows: usize,
}

/// Bounds of a search.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The transactions. Each may also roll back, or never begin.
    pub producers: Vec<Producer>,
    /// Largest number of crashes of the database.
    pub database_crashes: u8,
    /// Largest number of crashes of a relay that holds the lease.
    pub relay_crashes: u8,
    /// Largest number of times that the server ends the session of a relay that does not notice.
    pub lost_leases: u8,
    /// Largest number of recorded checkpoints.
    pub records: u8,
    /// Largest number of frames in a relay's memory.
    pub open_frames: usize,
    /// Mistake to put back; `None` for the correct protocol.
    pub trap: Option<Trap>,
}

impl Scenario {
    /// Makes a scenario without failures, from the key and the number of rows of each producer.
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
