//! Events and commands of the core.

use std::sync::Arc;

use super::{frame_reader, lease, parked_reader};
use crate::{
    capture::{Floors, Position},
    publish::{Batch, Outcome, Settled},
};

/// An event that concerns the session.
#[derive(Debug)]
pub enum Event<M> {
    /// The reader of frames reports.
    Reader(frame_reader::Event<M>),
    /// The reader of parked rows reports.
    ParkedReader(parked_reader::Event<M>),
    /// A record is durable.
    Recorded(lease::Recorded),
    /// So many channels to the broker were opened; each takes one batch at a time.
    Channels(usize),
    /// The broker's connection is lost.
    Disconnected,
    /// The broker takes no messages for now, or takes them again.
    Blocked(bool),
    /// A batch was answered.
    BatchDone {
        /// Number of the channel.
        channel: usize,
        /// Outcome of each message.
        outcomes: Vec<(Position, Outcome)>,
    },
    /// A batch could not be handed to its channel.
    Unsent(Batch<M>),
    /// Parked rows may be due.
    PollDue,
    /// The ring of segments may need upkeep.
    MaintenanceDue,
    /// A graceful stop is requested.
    Stop,
}

/// A command to the session's tasks, or a fact to report.
#[derive(Debug)]
pub enum Command<M> {
    /// Publish a batch on a channel.
    Publish {
        /// Number of the channel.
        channel: usize,
        /// The messages.
        batch: Batch<M>,
        /// `true` if all messages are of one isolated topic.
        isolated: bool,
    },
    /// Pass a command to the lease's task.
    Lease(lease::Command),
    /// Pass a command to the reader of parked rows.
    ParkedReader(parked_reader::Command),
    /// Read frames above these floors.
    Floors(Floors),
    /// Report a fact.
    Report(Report),
}

/// A fact for the log and the metrics.
#[derive(Debug)]
pub enum Report {
    /// Decisions about messages.
    Settled(Vec<Settled>),
    /// No queue is bound to these topics of parked messages.
    Unbound(Vec<Arc<str>>),
    /// Rows wait for a commit.
    GateCommit,
    /// A record is durable.
    Checkpointed,
}
