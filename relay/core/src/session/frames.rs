//! Open frames of a session, and the checkpoint that follows from their progress.

use std::collections::VecDeque;

use crate::{
    capture::{Floors, Pair, Position},
    checkpoint::{Checkpoint, Unfinished},
    publish::Progress,
    session::frame_reader::Opened,
};

/// The frames of a session. Does no I/O.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frames {
    /// The checkpoint as of the last finished frame.
    checkpoint: Checkpoint,
    open: VecDeque<Opened>,
    /// Highest position known to have been handed out.
    upper: Position,
    /// `true` if a checkpoint is wanted for the floor that it makes.
    wants_floor: bool,
}

impl Frames {
    /// Makes the list of a session that begins at a checkpoint.
    pub fn new(checkpoint: Checkpoint) -> Self {
        Self {
            upper: checkpoint.floors.highest(),
            checkpoint,
            open: VecDeque::new(),
            wants_floor: false,
        }
    }

    /// Records that a frame is open.
    pub fn opened(&mut self, frame: Opened) {
        self.upper = self.upper.max(frame.upper);
        self.open.push_back(frame);
    }

    /// Records that a poll read many positions, up to this one, and found no new row.
    pub(super) fn empty_scan(&mut self, upper: Position) {
        self.upper = self.upper.max(upper);
        self.wants_floor = true;
    }

    /// Returns `true` if a checkpoint is wanted for the floor that it makes.
    pub(super) const fn wants_floor(&self) -> bool {
        self.wants_floor
    }

    /// Returns the checkpoint to record, given the progress of the frames.
    pub fn checkpoint(&mut self, progress: Progress) -> Checkpoint {
        self.wants_floor = false;
        while let Some(frame) = self
            .open
            .pop_front_if(|frame| Some(frame.id) <= progress.finished)
        {
            if frame.walk {
                self.checkpoint.walk = None;
            } else {
                self.checkpoint.delivered = frame.to;
                self.checkpoint.unfinished = None;
            }
        }
        let mut checkpoint = self.checkpoint.clone();
        if let Some(frame) = self.open.front() {
            debug_assert_eq!(Some(frame.id), progress.current);
            let watermark = progress.watermark.unwrap_or(frame.done);
            if frame.walk {
                checkpoint.walk = Some((frame.upper, watermark));
            } else {
                let (to, upper) = (frame.to.clone(), frame.upper);
                checkpoint.unfinished = Some(Unfinished {
                    to,
                    upper,
                    watermark,
                });
            }
        }
        checkpoint
    }

    /// Returns the position to pair with the id of a transaction that is about to begin.
    pub const fn upper(&self) -> Position {
        self.upper
    }

    /// Records that a transaction wrote a checkpoint after `position` had been handed out; returns
    /// the floors.
    pub fn recorded(&mut self, xid: u64, position: Position) -> &Floors {
        let xmin = self.checkpoint.delivered.xmin();
        self.checkpoint.floors.add(Pair { xid, position }, xmin);
        &self.checkpoint.floors
    }

    pub(super) fn settled_below(&self) -> Position {
        self.checkpoint.settled_below()
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;
    use crate::{
        capture::{Pair, Snapshot},
        checkpoint::{Checkpoint, Unfinished},
        identity::Identity,
        publish::Progress,
        session::frame_reader::Opened,
    };

    fn opened(id: u64, to: u64, upper: i64) -> Opened {
        Opened {
            id,
            walk: false,
            to: Snapshot::before(to),
            upper,
            done: 0,
            durable: true,
        }
    }

    #[test]
    fn a_new_session_keeps_the_recorded_floors() {
        let identity = Identity {
            system_identifier: 1,
            database_oid: 2,
            timeline: 3,
        };
        let mut checkpoint = Checkpoint::beginning(identity);
        checkpoint.floors.add(
            Pair {
                xid: 7,
                position: 300,
            },
            1,
        );
        let mut frames = Frames::new(checkpoint);
        let upper = frames.upper();
        assert_eq!(frames.recorded(9, upper).below(10), 300);
    }

    #[test]
    fn a_checkpoint_names_the_oldest_unfinished_frame() {
        let identity = Identity {
            system_identifier: 1,
            database_oid: 2,
            timeline: 3,
        };
        let mut frames = Frames::new(Checkpoint::beginning(identity));
        frames.opened(opened(1, 10, 100));
        frames.opened(opened(2, 20, 200));
        let progress = Progress {
            finished: None,
            current: Some(1),
            watermark: Some(50),
        };
        let checkpoint = frames.checkpoint(progress);
        assert_eq!(checkpoint.delivered, Snapshot::beginning());
        let expected = Unfinished {
            to: Snapshot::before(10),
            upper: 100,
            watermark: 50,
        };
        assert_eq!(checkpoint.unfinished, Some(expected));
        let progress = Progress {
            finished: Some(2),
            current: None,
            watermark: None,
        };
        let checkpoint = frames.checkpoint(progress);
        assert_eq!(checkpoint.delivered, Snapshot::before(20));
        assert_eq!(checkpoint.unfinished, None);
        assert_eq!(frames.upper(), 200);
        assert_eq!(frames.recorded(25, 200).below(26), 200);
    }
}
