//! What is known of one key.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Row,
    frame_window::FrameId,
    isolation::BatchNumber,
    key_retry::{KeyRetry, RetryScan},
    topics::Topics,
};
use crate::capture::Position;

/// What waits behind a parked row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Nothing: it has no key, or left its order.
    Nothing,
    /// Messages of its key and topic. No queue is bound to the topic, so others may pass.
    Topic,
    /// All messages of its key.
    Key,
}

impl Hold {
    /// Name in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Topic => "topic",
            Self::Key => "key",
        }
    }
}

/// Where a row stands in the order of the outbox.
pub(super) type RowOrder = (FrameId, Position);

/// Where a row in memory came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A frame.
    Frame(FrameId),
    /// `outbox.parked`, with so many failed attempts.
    Parked { attempts: u32 },
}

/// A row in memory.
#[derive(Debug)]
pub(super) struct Entry<M> {
    pub(super) row: Arc<Row<M>>,
    pub(super) origin: Origin,
    /// Times that its batch ended in an error of the broker; above zero it is sent alone.
    pub(super) closures: u8,
    /// The batch that it was last handed out with.
    pub(super) batch: BatchNumber,
}

impl<M> Entry<M> {
    pub(super) const fn was_parked(&self) -> bool {
        matches!(self.origin, Origin::Parked { .. })
    }

    /// Where it stands; nowhere if it was parked.
    pub(super) fn order(&self) -> Option<RowOrder> {
        match self.origin {
            Origin::Frame(frame) => Some((frame, self.row.position)),
            Origin::Parked { .. } => None,
        }
    }
}

/// A row that is to be parked once the rows before it are out of memory, and whose message is
/// dropped already.
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

/// Parked rows that stand before whatever comes next.
#[derive(Debug, Default)]
pub(super) struct Holds {
    pub(super) key: bool,
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

    /// What a new row of a topic must wait behind.
    pub(super) fn over(&self, topic: &Arc<str>) -> Option<Hold> {
        if self.key {
            Some(Hold::Key)
        } else if self.topics.contains(topic) {
            Some(Hold::Topic)
        } else {
            None
        }
    }

    /// As [`Holds::over`], looking at the row's own topic only.
    pub(super) fn over_topic(&self, topic: &Arc<str>) -> Option<Hold> {
        self.topics.contains(topic).then_some(Hold::Topic)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.key && self.topics.is_empty()
    }
}

/// The rows of one key: at most one is ready or in flight, the others wait in order.
#[derive(Debug)]
pub(super) struct KeyState<M> {
    pub(super) active: bool,
    pub(super) waiting: VecDeque<Entry<M>>,
    /// How many of them, and of the active one, came from frames.
    pub(super) from_frames: usize,
    /// Parked ahead of those from frames, they would overtake them after a crash.
    pub(super) pending_parks: VecDeque<PendingPark>,
    pub(super) holds: Holds,
    /// Rows were parked only because the window was full of this key: nothing failed, so they are
    /// fetched as soon as the window has none of it.
    pub(super) overflowed: bool,
    pub(super) retry: KeyRetry,
    pub(super) scan: RetryScan,
    /// Records about its parked rows that are not written yet.
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

    /// Whether nothing needs to be remembered of it.
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
