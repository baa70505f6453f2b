//! Events and commands of the core.

use std::sync::Arc;

use crate::{
    capture::{Floors, Position},
    frame_reader, lease,
    publish::{Batch, Outcome, Settled},
    session::parked_reader,
};

/// An event that concerns the session.
#[derive(Debug)]
pub(in crate::session) enum Event<M> {
    /// The reader of frames reports.
    Reader(frame_reader::Event<M>),
    /// The reader of parked rows reports.
    ParkedReader(parked_reader::Event<M>),
    /// The lease's task reports.
    Lease(lease::Event),
    /// So many channels to the broker were opened; each takes one batch at a time.
    Channels(usize),
    /// The broker's connection is lost.
    Disconnected,
    /// The broker takes no messages for now, or takes them again.
    Blocked(bool),
    /// A batch was answered.
    BatchDone {
        channel: usize,
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
pub(in crate::session) enum Command<M> {
    /// Publish a batch on a channel.
    Publish {
        channel: usize,
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
pub(in crate::session) enum Report {
    /// Decisions about messages.
    Settled(Vec<Settled>),
    /// No queue is bound to these topics of parked messages.
    Unbound(Vec<Arc<str>>),
    /// Rows wait for a commit.
    GateCommit,
    /// A record is durable.
    Checkpointed,
}
