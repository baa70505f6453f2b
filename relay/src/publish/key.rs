//! State of one key: its rows in memory, and what its parked rows hold back.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Row,
    frame_window::FrameId,
    isolation::BatchNumber,
    key_retry::{KeyRetry, RetryScan},
    topics::Topics,
};
use crate::capture::Position;

/// The rows that must wait behind a parked row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// No rows: the parked row has no key, or has left its key's order.
    Nothing,
    /// Rows of the same key and topic. No queue is bound to the topic, so rows of other topics go
    /// on.
    Topic,
    /// All rows of the key.
    Key,
}

impl Hold {
    /// Name in `outbox.parked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Topic => "topic",
            Self::Key => "key",
        }
    }
}

/// Order of a row in the outbox: frame, then position.
pub(super) type RowOrder = (FrameId, Position);

/// Source of a row in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A frame.
    Frame(FrameId),
    /// `outbox.parked`, after this many failed attempts.
    Parked { attempts: u32 },
}

/// A row in memory.
#[derive(Debug)]
pub(super) struct Entry<M> {
    pub(super) row: Arc<Row<M>>,
    pub(super) origin: Origin,
    /// Times that the broker closed a channel or connection over the row's batch. Above zero, the
    /// row is *suspect* and sent alone.
    pub(super) closures: u8,
    /// Number of the last batch that held the row.
    pub(super) batch: BatchNumber,
}

impl<M> Entry<M> {
    pub(super) const fn was_parked(&self) -> bool {
        matches!(self.origin, Origin::Parked { .. })
    }

    /// Order of the row in the outbox; `None` if the row was parked.
    pub(super) fn order(&self) -> Option<RowOrder> {
        match self.origin {
            Origin::Frame(frame) => Some((frame, self.row.position)),
            Origin::Parked { .. } => None,
        }
    }
}

/// A row to park once the rows before it have left memory. Its message is dropped already.
#[derive(Debug)]
pub(super) struct PendingPark {
    pub(super) position: Position,
    pub(super) topic: Arc<str>,
    pub(super) frame: FrameId,
    pub(super) hold: Hold,
}

impl PendingPark {
    pub(super) const fn order(&self) -> RowOrder {
        (self.frame, self.position)
    }
}

/// Combined hold of a key's parked rows on the rows that follow.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// `true` if all rows of the key must wait.
    pub(super) key: bool,
    /// Topics whose rows must wait.
    pub(super) topics: Topics,
}

impl Holds {
    pub(super) fn add(&mut self, hold: Hold, topic: &Arc<str>) {
        match hold {
            Hold::Nothing => {}
            Hold::Topic => {
                self.topics.insert(topic);
            }
            Hold::Key => self.key = true,
        }
    }

    /// Returns the hold that a new row of the topic must wait for, if any.
    pub(super) fn hold_for(&self, topic: &Arc<str>) -> Option<Hold> {
        if self.key {
            Some(Hold::Key)
        } else if self.topics.contains(topic) {
            Some(Hold::Topic)
        } else {
            None
        }
    }

    /// Like [`Holds::hold_for`], but ignores a hold on the whole key.
    pub(super) fn topic_hold_for(&self, topic: &Arc<str>) -> Option<Hold> {
        self.topics.contains(topic).then_some(Hold::Topic)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.key && self.topics.is_empty()
    }
}

/// Rows of one key: at most one is ready or in flight, the others wait in order.
#[derive(Debug)]
pub(super) struct KeyState<M> {
    /// `true` while a row of the key is ready or in flight.
    pub(super) active: bool,
    pub(super) waiting: VecDeque<Entry<M>>,
    /// Number of waiting and active rows that came from frames.
    pub(super) from_frames: usize,
    /// Rows to park after the frame rows before them. Parked earlier, they would overtake those
    /// rows after a crash.
    pub(super) pending_parks: VecDeque<PendingPark>,
    pub(super) holds: Holds,
    /// `true` if rows were parked only because the key filled its share of the window. None of them
    /// failed, so they are fetched as soon as the window holds no row of the key.
    pub(super) overflowed: bool,
    pub(super) retry: KeyRetry,
    pub(super) scan: RetryScan,
    /// Number of records about the key's parked rows that are not written yet.
    pub(super) unwritten: usize,
}

impl<M> KeyState<M> {
    pub(super) fn new() -> Self {
        Self {
            active: false,
            waiting: VecDeque::new(),
            from_frames: 0,
            pending_parks: VecDeque::new(),
            holds: Holds::default(),
            overflowed: false,
            retry: KeyRetry::Idle,
            scan: RetryScan::default(),
            unwritten: 0,
        }
    }

    /// Returns `true` if the key has no state to remember.
    pub(super) fn is_idle(&self) -> bool {
        !self.active
            && self.waiting.is_empty()
            && self.pending_parks.is_empty()
            && self.holds.is_empty()
            && !self.overflowed
            && self.retry == KeyRetry::Idle
            && self.unwritten == 0
    }
}
